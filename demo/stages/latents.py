"""Pictures of the world as latents, drawn and encoded once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from vcd_core.files import unfinished_file
from vcd_core.standalone.config import DEMO

from ..tensors import as_tensor, mixed_precision
from ..train import SEED, averaged_weights
from ..world import Scene, draw, random_scene
from .vae import pass_over_idle_blocks

SHARD, BATCH = 4096, 32
TOGETHER = 4  # pictures encoded at a time fit the processor's cache; 32 take twice as long each


def scene(number: int, style: str = "soft") -> Scene:
    """The scene behind latent `number`."""
    return random_scene(np.random.default_rng((SEED, number)), style)


def load_vae(folder: Path) -> AutoencoderKL:
    """The autoencoder as far as it is trained; its encoder is the same from the `vae` stage on."""
    vae = AutoencoderKL(**DEMO.vae())
    newest = "decoder" if (folder / "decoder.pt").exists() else "vae"
    vae.load_state_dict(averaged_weights(folder, newest))
    pass_over_idle_blocks(vae)
    return vae.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def latents(folder: Path, shards: int, style: str = "soft") -> Tensor:
    """(shards * SHARD, 4, 16, 16) float16, of the scenes of the same numbers; what is missing is made first."""

    def drawn(numbers: range) -> Tensor:
        return as_tensor([draw(scene(number, style)).image for number in numbers])

    return encoded_once(folder, f"latents-{style}", shards, SHARD, BATCH, drawn)


def encoded_once(
    folder: Path, name: str, shards: int, size: int, batch: int, drawn: Callable[[range], Tensor]
) -> Tensor:
    """(N, 4, h, w) float16: the latents of all that is drawn, read from the files NAME-000 to NAME-shards.

    Args:
        size: how many numbers a file holds.
        batch: how many of them are drawn and encoded together.
        drawn: numbers -> the pictures of them all, (n, 3, H, W) in [-1, 1].
    """
    files = [folder / f"{name}-{shard:03}.safetensors" for shard in range(shards)]
    if missing := [shard for shard in range(shards) if not files[shard].exists()]:
        vae = load_vae(folder)
        for shard in tqdm(missing, f"encoding {name}", unit="file"):
            starts = range(shard * size, (shard + 1) * size, batch)
            made = torch.cat([_encoded(vae, drawn(range(start, start + batch))) for start in starts])
            with unfinished_file(files[shard]) as unfinished:
                save_file({"latents": made}, unfinished)
    return torch.cat([load_file(file)["latents"] for file in files])


@torch.no_grad()
def _encoded(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """(N, 4, h, w) float16."""
    with mixed_precision():
        few = images.contiguous(memory_format=torch.channels_last).split(TOGETHER)
        made = [vae.encode(part).latent_dist.mode().contiguous() for part in few]
    return torch.cat(made).half()  # not under autocast, which refuses to join half precision
