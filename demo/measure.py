"""How much like somebody the pictures are that a prompt gives, by the attribute reader."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vcd_core.files import unfinished_file
from vcd_core.sampling import classifier_free_guidance, euler, normal_sigmas, start_latents
from vcd_core.standalone.model import Prompt, StableDiffusion
from vcd_core.standalone.weights_folder import manifest_fingerprint
from vcd_core.vision import DrawnFaceDetector

from . import captions
from .characters import Look
from .people import NEW_PLACES, member
from .reader import AttributeReader, Reading, look_features, read, similarity

STEPS, CFG, SIZE = 20, 5.0, 128
PROMPTS = tuple(
    f"{opening} {{}} {place}"
    for opening, place in zip(("a photo of", "a portrait of") * 5, (*NEW_PLACES, *NEW_PLACES)[:10], strict=True)
)
"""Ten prompts with the subject left out: every place that no photo shows, some twice."""


@dataclass(frozen=True)
class Eyes:
    """What looks at pictures: the detector finds the face, the reader reads it."""

    reader: AttributeReader
    detector: DrawnFaceDetector

    def read(self, images: Tensor) -> list[Reading]:
        """Of pictures (F, 3, H, W) in [0, 1]."""
        return read(self.reader, self.detector, images)


class AttributeEmbedder:
    """An Embedder of `vcd_core.metrics`: who is to be seen, as read; not a number where no face is found."""

    name = "the demo's attribute reader"

    def __init__(self, eyes: Eyes) -> None:
        self.eyes = eyes

    def embed_images(self, images: Sequence[Tensor]) -> Tensor:
        alike = (torch.stack(list(some)) for _, some in groupby(images, key=lambda image: image.shape))
        looks = [reading.look for some in alike for reading in self.eyes.read(some.movedim(-1, 1))]
        width = len(look_features(member("mia")))
        return torch.stack([torch.full((width,), torch.nan) if look is None else look_features(look) for look in looks])


def fingerprint(files: Sequence[str], *settings) -> str:
    """A short text that changes with these files of weights, how pictures are drawn here, and the settings."""
    from .weights import WEIGHTS

    parts = (manifest_fingerprint(WEIGHTS, files), STEPS, CFG, SIZE, PROMPTS, *settings)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def kept_pictures(file: Path, make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Pictures in [0, 1] by name, float32: those in a file; if it is not there they are made and kept, in 8 bits."""
    if not file.exists():
        with unfinished_file(file) as unfinished:
            save_file({name: (made * 255).round().byte().contiguous() for name, made in make().items()}, unfinished)
    return {name: kept.float() / 255 for name, kept in load_file(file).items()}


@torch.no_grad()
def draw_prompts(model: StableDiffusion, prompts: Sequence[Prompt], seed: int, title: str = "drawing") -> Tensor:
    """One picture a prompt, (N, 3, 128, 128) in [0, 1]; shows how far it is, under a title."""
    from tqdm import tqdm

    context = torch.stack([model.encode_pieces(prompt) for prompt in prompts])
    denoise = classifier_free_guidance(model.denoiser(context), model.denoiser(model.encode_pieces([""])), CFG)
    noise = torch.randn(len(prompts), 4, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(seed))
    sigmas = normal_sigmas(model.schedule, STEPS)
    with tqdm(total=STEPS, desc=title, unit="step") as progress:
        latents = euler(denoise, start_latents(noise, sigmas[0]), sigmas, callback=lambda *_: progress.update())
    return model.decode(latents) * 0.5 + 0.5


def subject_prompts(subject: Prompt) -> list[Prompt]:
    """PROMPTS about a subject, given in pieces."""
    filled = []
    for prompt in PROMPTS:
        before, after = prompt.split("{}")
        filled.append([before, *subject, after])
    return filled


def by_caption(look: Look) -> Prompt:
    """The subject with every attribute spelled out."""
    return [f"a {look.noun} with {', '.join(captions.phrases(look).values())},"]


def by_noun(look: Look) -> Prompt:
    return [f"a {look.noun}"]


def by_token(look: Look, vectors: Tensor) -> Prompt:
    return ["a ", vectors, look.noun]


def identity_scores(look: Look, readings: Sequence[Reading]) -> np.ndarray:
    """(N,) in [0, 1]; 0 where no face was found."""
    return np.array([similarity(look, reading) for reading in readings])
