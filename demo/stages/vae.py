"""The autoencoder: pictures to latents of an eighth of the size and back.

Its finest residual blocks, three quarters of all work, are passed over at first: their last convolutions are zero, so
that they change nothing. Once the encoder is good enough the `decoder` stage freezes it and trains the decoder whole.
"""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from vcd_core.standalone.config import DEMO

from ..appearance import random_look
from ..shots import random_shot
from ..tensors import as_pictures, as_tensor, mixed_precision
from ..train import Draws, Stage, write_grid
from ..world import Render, draw, random_scene, render

BATCH = 8
KL_WEIGHT = 1e-6
INK_SHARE = 0.125  # so that the second style's pictures survive as well


def stage(folder: Path) -> Stage:
    vae = AutoencoderKL(**DEMO.vae())
    for block in fine_blocks(vae):
        nn.init.zeros_(block.conv2.weight)
        nn.init.zeros_(block.conv2.bias)
        block.requires_grad_(False)
    pass_over_idle_blocks(vae)
    return Stage(vae, loss, report, steps=2800, learning_rate=1e-3, average=0.995, report_every=500)


def fine_blocks(vae: AutoencoderKL) -> list[nn.Module]:
    """The residual blocks at the resolution of the picture."""
    return [*vae.encoder.down_blocks[0].resnets, *vae.decoder.up_blocks[-1].resnets]


def pass_over_idle_blocks(vae: AutoencoderKL) -> None:
    """Saves the work of residual blocks that add nothing."""
    for block in fine_blocks(vae):
        if not (block.conv2.weight.any() or block.conv2.bias.any()):
            block.forward = lambda x, temb=None: x


def loss(vae: nn.Module, draws: Draws) -> tuple[Tensor, dict[str, float]]:
    images = training_batch(draws.numpy)
    with mixed_precision():
        posterior = vae.encode(images).latent_dist
        latents = posterior.sample(draws.torch)
        difference = vae.decode(latents).sample.float() - images
    kl = posterior.kl().float().mean() / images[0].numel()
    return picture_loss(difference) + KL_WEIGHT * kl, {"mse": difference.detach().square().mean(), "kl": kl.detach()}


def picture_loss(difference: Tensor) -> Tensor:
    """Squared error for the figure, absolute error for the edges."""
    return difference.square().mean() + 0.2 * difference.abs().mean()


def training_batch(rng: np.random.Generator) -> Tensor:
    styles = np.where(rng.random(BATCH) < INK_SHARE, "ink", "soft")
    return as_tensor([draw(random_scene(rng, str(style))).image for style in styles])


def held_out_pictures(count: int, style: str = "soft") -> list[Render]:
    rng = np.random.default_rng(7)
    return [render(random_look(rng, held_out=True), random_shot(rng, style=style)) for _ in range(count)]


@torch.no_grad()
def report(vae: nn.Module, folder: Path) -> dict[str, float]:
    """PSNR in decibels, the mean over 64 held-out pictures, and the spread of latents."""
    images = as_tensor([one.image for one in held_out_pictures(64)])
    latents = torch.cat([vae.encode(part).latent_dist.mode() for part in images.split(8)])
    decoded = torch.cat([vae.decode(part).sample for part in latents.split(8)]).clamp(-1, 1)
    decibels = 10 * torch.log10(4 / (decoded - images).square().mean((1, 2, 3)))
    write_grid(folder / "vae.png", as_pictures(torch.stack([images[:16], decoded[:16]], 1).flatten(0, 1)), 8)
    return {"psnr": decibels.mean(), "psnr_worst": decibels.min(), "latent_std": latents.std()}
