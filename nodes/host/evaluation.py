"""What looks at clips in ComfyUI: networks that stay from run to run, and ComfyUI's own CLIP_VISION."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import torch
from comfy.clip_model import CLIPVisionModelProjection
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ...vcd_core.metrics import Embedder, load_clip, load_dino
from ...vcd_core.pretrained import CONFIG
from .memory import on_compute_device, patcher_of

WORKING_MEMORY = 1024**3  # of sixteen pictures in CLIP vit-large, in float32


class OnComputeDevice:
    """An Embedder of a network that is where ComfyUI computes while it looks or reads, and not otherwise."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.patcher: ModelPatcher = patcher_of(network)
        self.name = network.name

    def embed_images(self, images: Sequence[Tensor]) -> Tensor:
        with on_compute_device(self.patcher, working_memory=WORKING_MEMORY):
            return self.network.embed_images(images)

    def embed_text(self, text: str) -> Tensor:
        with on_compute_device(self.patcher, working_memory=WORKING_MEMORY):
            return self.network.embed_text(text)


class ClipVision:
    """An Embedder of ComfyUI's CLIP_VISION, by its own preprocessing: the middle square of a picture.

    Raises:
        ValueError: it is of another kind, such as DINOv2.
    """

    def __init__(self, clip_vision) -> None:
        network = clip_vision.model
        if not isinstance(network, CLIPVisionModelProjection):
            raise ValueError(
                f"clip_vision is a {type(network).__name__} and no CLIP: take a CLIP's file in Load CLIP Vision"
            )
        layers = network.vision_model.encoder.layers
        width = network.vision_model.post_layernorm.weight.shape[0]
        self.clip_vision = clip_vision
        self.name = f"CLIP_VISION ({len(layers)} layers of {width}, pictures of {clip_vision.image_size})"

    def embed_images(self, images: Sequence[Tensor]) -> Tensor:
        """In batches of neighbours that have the same size."""
        batches = (torch.stack(list(batch)) for _, batch in groupby(images, key=lambda image: image.shape))
        rows = [self.clip_vision.encode_image(part)["image_embeds"] for batch in batches for part in batch.split(16)]
        return torch.cat(rows).float().cpu()


def clip_of(source: Path | str) -> Embedder:
    """A CLIP in transformers' layout; the last one stays in memory."""
    return _clip(source, _changed(source))


def dino_of(source: Path | str) -> Embedder:
    """A DINO in transformers' layout; the last one stays in memory."""
    return _dino(source, _changed(source))


@lru_cache(maxsize=1)
def _clip(source: Path | str, _changed: int) -> OnComputeDevice:
    return OnComputeDevice(load_clip(source))


@lru_cache(maxsize=1)
def _dino(source: Path | str, _changed: int) -> OnComputeDevice:
    return OnComputeDevice(load_dino(source))


def _changed(source: Path | str) -> int:
    """When a folder's files were last changed; 0 for a Hugging Face id."""
    if not isinstance(source, Path) or not (source / CONFIG).is_file():
        return 0
    return max(file.stat().st_mtime_ns for file in source.iterdir())
