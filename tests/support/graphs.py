"""Graphs in ComfyUI's API format: the shipped ones, and small ones made for a test."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from comfyui_hosts import ROOT
from comfyui_server import Result
from safetensors.torch import load_file
from torch import Tensor

WORKFLOWS = ROOT / "workflows"


class Graph(dict):
    """node id -> {"class_type", "inputs"}, the API format itself."""

    def add(self, class_type: str, **inputs: Any) -> str:
        """Adds a node; returns its id. Links are [id, output]."""
        key = str(len(self) + 1)
        self[key] = {"class_type": class_type, "inputs": inputs}
        return key

    def find(self, class_type: str, index: int = 0) -> str:
        """The id of the index-th node of a class."""
        return [key for key, node in self.items() if node["class_type"] == class_type][index]

    def set(self, class_type: str, index: int = 0, **inputs: Any) -> "Graph":
        """Changes inputs of a node; returns the graph."""
        changed = self[self.find(class_type, index)]["inputs"]
        assert inputs.keys() <= changed.keys(), f"{class_type} has {list(changed)}, not {list(inputs)}"
        changed.update(inputs)
        return self


def shipped(name: str) -> Graph:
    """A workflow of `workflows/api/`."""
    return Graph(json.loads((WORKFLOWS / "api" / f"{name}.json").read_text(encoding="utf-8")))


def small(graph: Graph, frames: int, steps: int) -> Graph:
    """The same at 64x64 pixels and few steps."""
    graph.set("EmptyLatentImage", width=64, height=64, batch_size=frames)
    for node in graph.values():
        if node["class_type"] in ("VCD_Sampler", "KSampler", "BasicScheduler"):
            node["inputs"]["steps"] = steps
    return graph


def training(checkpoint: str, photos: str, name: str, **settings: Any) -> Graph:
    """The shipped training workflow, made small."""
    graph = shipped("train_id_token")
    graph.set("CheckpointLoaderSimple", ckpt_name=checkpoint)
    graph.set("VCD_LoadIdentityPhotos", folder=photos)
    graph.set("VCD_TrainIDToken", name=name, resolution=64, **{"steps": 3, "batch_size": 2, **settings})
    return small(graph, frames=2, steps=2)


class Sampling:
    """A graph that samples 64x64 clips from one checkpoint in several ways, each saved as a latent."""

    def __init__(self, checkpoint: str, frames: int, prompt: str = "a photo of a woman") -> None:
        self.graph = Graph()
        self.checkpoint = self.graph.add("CheckpointLoaderSimple", ckpt_name=checkpoint)
        clip = [self.checkpoint, 1]
        self.model = [self.checkpoint, 0]
        self.positive = [self.graph.add("CLIPTextEncode", text=prompt, clip=clip), 0]
        self.negative = [self.graph.add("CLIPTextEncode", text="", clip=clip), 0]
        self.empty = [self.graph.add("EmptyLatentImage", width=64, height=64, batch_size=frames), 0]

    def sample(self, class_type: str = "VCD_Sampler", *, model: list | None = None, **inputs: Any) -> str:
        """Adds a KSampler or VCD_Sampler; returns the id under which `latents` finds its clip."""
        settings = {"seed": 5, "steps": 2, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
        if class_type == "VCD_Sampler":
            settings["gamma"] = 0.0
        key = self.graph.add(
            class_type,
            model=model or self.model,
            positive=self.positive,
            negative=self.negative,
            latent_image=self.empty,
            **{**settings, **inputs},
        )
        return self.save([key, 0])

    def save(self, latent: list) -> str:
        return self.graph.add("SaveLatent", samples=latent, filename_prefix="latents/test")


def video(result: Result, key: str) -> tuple[np.ndarray, Fraction]:
    """What a SaveVideo wrote: frames (F, H, W, 3) uint8, and how many a second."""
    (path,) = result.files(key)
    return read_video(path)


def read_video(path: Path) -> tuple[np.ndarray, Fraction]:
    """The same of a file."""
    with av.open(str(path)) as file:
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
        return np.stack(frames), file.streams.video[0].average_rate


def latents(result: Result, key: str) -> Tensor:
    """(F, 4, h, w) that a SaveLatent wrote."""
    (path,) = result.files(key)
    return load_file(path)["latent_tensor"]
