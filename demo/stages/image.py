"""The UNet: epsilon prediction on SD1.5's noise schedule, with captions from the frozen text encoder."""

from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from vcd_core.sampling import DiscreteSchedule, classifier_free_guidance, euler, normal_sigmas, start_latents
from vcd_core.standalone.config import DEMO

from .. import captions, world
from ..appearance import NOUNS, random_look
from ..places import PLACES
from ..shots import random_clip
from ..tensors import as_pictures, mixed_precision
from ..train import Draws, Stage, averaged_weights, write_grid
from .latents import latents, load_vae, scene
from .text import NAME_LENGTHS, NAMED_SHARE, TextModel, named_prompt

BATCH = 32
SHARDS = 5
WITHOUT_WORDS = 0.1  # of captions are left out, for classifier-free guidance
SNR_LIMIT = 5.0
SCHEDULE = DiscreteSchedule.from_betas("scaled_linear")


def load_text(folder: Path) -> TextModel:
    model = TextModel()
    model.load_state_dict(averaged_weights(folder, "text"))
    return model.eval().requires_grad_(False)


def stage(folder: Path, style: str = "soft", shards: int = SHARDS, unet: nn.Module | None = None) -> Stage:
    unet = unet or UNet2DConditionModel(**DEMO.unet())  # first: what else draws random weights depends on what is there
    data, text = latents(folder, shards, style), load_text(folder)
    vae = load_vae(folder)

    def loss(unet: nn.Module, draws: Draws) -> tuple[Tensor, dict[str, float]]:
        numbers = draws.numpy.integers(len(data), size=BATCH)
        clean = data[torch.from_numpy(numbers)].float() * DEMO.scaling_factor
        context = contexts_of(text, draws, [scene(int(number), style) for number in numbers])
        return denoising_loss(unet, clean, context, draws)

    def report(unet: nn.Module, folder: Path) -> dict[str, float]:
        write_grid(folder / f"image-{style}.png", samples(unet, text, vae), 8)
        return {}

    return Stage(
        unet,
        loss,
        report,
        steps=40000,
        learning_rate=4e-4,
        weight_decay=0.01,
        average=0.9993,
    )


def denoising_loss(
    unet: nn.Module,
    clean: Tensor,
    context: Tensor,
    draws: Draws,
) -> tuple[Tensor, dict[str, float]]:
    """Min-SNR weighted error of the noise (arXiv:2303.09556, with epsilon prediction: min(SNR, 5) / SNR).

    The weight is paid in timesteps: one that counts half is drawn half as often, and no picture is drawn in vain. A
    batch spreads over the timesteps evenly.
    """
    weights = (SNR_LIMIT * SCHEDULE.sigmas**2).clamp(max=1).cumsum(0)
    shares = (torch.arange(len(clean)) + torch.rand(len(clean), generator=draws.torch)) / len(clean)
    timesteps = torch.searchsorted(weights, shares * weights[-1]).clamp(max=len(weights) - 1)
    noise = torch.randn(clean.shape, generator=draws.torch)
    sigma = SCHEDULE.sigmas[timesteps].view(-1, 1, 1, 1)
    noised = (clean + sigma * noise) / (1 + sigma**2).sqrt()
    with mixed_precision():
        predicted = unet(noised, timesteps, context).sample.float()
    return (predicted - noise).square().mean(), {}


@torch.no_grad()
def contexts_of(text: TextModel, draws: Draws, scenes: list[world.Scene], **odds: float) -> Tensor:
    """(B, 77, D) of captions, of names, or of nothing.

    Args:
        odds: `acting`, how often what they do is said.
    """
    rng = draws.numpy
    codes = text.name([scene.look for scene in scenes], int(rng.choice(NAME_LENGTHS)))
    prompts = []
    for one, code in zip(scenes, codes, strict=True):
        way = rng.random()
        if way < WITHOUT_WORDS:
            prompts.append([])
        elif way < WITHOUT_WORDS + NAMED_SHARE:
            prompts.append(named_prompt(text, rng, one, list(code), **odds)[0])
        else:
            prompts.append(text.rows(captions.random_caption(rng, one.look, one.shot, **odds)))
    with mixed_precision():
        return text(prompts)[0].float()


@torch.no_grad()
def samples(unet: nn.Module, text: TextModel, vae: nn.Module, cfg: float = 4.0, steps: int = 20) -> np.ndarray:
    """32 pictures of held-out people by captions that tell everything, below each what the world would draw."""
    rng = np.random.default_rng(5)
    looks = [random_look(rng, noun, held_out=True) for noun in NOUNS * 4]
    shots = [
        random_clip(rng, "stand", 1, place, framing)[0]
        for place, framing in zip([*PLACES, *PLACES][:16], (["full", "half", "portrait"] * 6)[:16], strict=True)
    ]
    drawn = [world.render(look, shot).image for look, shot in zip(looks, shots, strict=True)]
    prompts = [text.rows(captions.caption(look, shot)) for look, shot in zip(looks, shots, strict=True)]
    context, empty = text(prompts)[0], text([[]])[0].expand(len(prompts), -1, -1)

    def denoiser(words: Tensor):
        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            timestep = SCHEDULE.timestep(sigma).expand(len(x))
            with mixed_precision():
                return x - sigma * unet(x / (1 + sigma**2).sqrt(), timestep, words).sample.float()

        return denoise

    noise = torch.randn(len(prompts), 4, 16, 16, generator=torch.Generator().manual_seed(5))
    sigmas = normal_sigmas(SCHEDULE, steps)
    made = euler(
        classifier_free_guidance(denoiser(context), denoiser(empty), cfg), start_latents(noise, sigmas[0]), sigmas
    )
    shown = as_pictures(torch.cat([vae.decode(one[None] / DEMO.scaling_factor).sample for one in made]))
    rows = [[*shown[i : i + 8], *drawn[i : i + 8]] for i in (0, 8)]
    return np.stack([picture for row in rows for picture in row])
