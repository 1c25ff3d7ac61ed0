"""The decoder, whole, behind the frozen encoder: latents stay what the UNet learns, pictures get sharper."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from vcd_core.standalone.config import DEMO

from ..tensors import mixed_precision
from ..train import Draws, Stage, averaged_weights
from .vae import picture_loss, report, training_batch

LATENT_NOISE = 0.02  # of the latents' own spread: what comes from a UNet is never exact


def stage(folder: Path) -> Stage:
    vae = AutoencoderKL(**DEMO.vae())
    vae.load_state_dict(averaged_weights(folder, "vae"))
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    return Stage(vae, loss, report, steps=12000, learning_rate=6e-4, average=0.998)


def loss(vae: nn.Module, draws: Draws) -> tuple[Tensor, dict[str, float]]:
    images = training_batch(draws.numpy)
    with mixed_precision():
        with torch.no_grad():
            latents = vae.encode(images).latent_dist.mode().float()
            noise = torch.randn(latents.shape, generator=draws.torch)
            latents = latents + LATENT_NOISE * latents.std() * noise
        difference = vae.decode(latents).sample.float() - images
    return picture_loss(difference), {"mse": difference.detach().square().mean()}
