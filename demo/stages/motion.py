"""The motion module: clips of the world, on AnimateDiff's noise schedule, with everything else frozen (its recipe)."""

import math
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from vcd_core.motion import MotionConfig, MotionModule
from vcd_core.sampling import DiscreteSchedule
from vcd_core.standalone.config import DEMO
from vcd_core.standalone.motion import inserted_motion

from .. import world
from ..appearance import random_look
from ..characters import Look
from ..shots import Shot, random_clip
from ..tensors import as_tensor, mixed_precision
from ..train import SEED, Draws, Stage, averaged_weights, muon
from .image import contexts_of, load_text
from .latents import encoded_once

FRAMES, MAX_FRAMES = 16, 32
SHARD, SHARDS = 256, 12
SCHEDULE = DiscreteSchedule.from_betas("linear")
CLIPS = 2  # of one step
MOVEMENT = 3.0  # weight of what differs from frame to frame, over that of what they have in common
LOWEST, HIGHEST = math.log(0.4), math.log(float(SCHEDULE.sigmas[-1]))  # noise levels


def config() -> MotionConfig:
    levels = len(DEMO.channels)
    blocks = DEMO.unet_blocks
    return MotionConfig(DEMO.channels, (blocks,) * levels, (blocks + 1,) * levels, False, MAX_FRAMES)


def clip(number: int) -> tuple[Look, list[Shot]]:
    """The clip behind latents `number`."""
    rng = np.random.default_rng((SEED, 1, number))
    return random_look(rng), random_clip(rng, frames=FRAMES)


def clip_latents(folder: Path, shards: int = SHARDS) -> Tensor:
    """(shards * SHARD, 16, 4, 16, 16) float16; what is missing is made first."""

    def drawn(numbers: range) -> Tensor:
        clips = [clip(number) for number in numbers]
        return as_tensor([world.render(look, shot).image for look, shots in clips for shot in shots])

    return encoded_once(folder, "clips", shards, SHARD, 1, drawn).unflatten(0, (-1, FRAMES))


def stage(folder: Path) -> Stage:
    module = MotionModule(config())
    for slot in module.modules():
        if hasattr(slot, "proj_out"):
            nn.init.zeros_(slot.proj_out.weight)
            nn.init.zeros_(slot.proj_out.bias)
    data, text = clip_latents(folder), load_text(folder)
    unet = UNet2DConditionModel(**DEMO.unet())
    unet.load_state_dict(averaged_weights(folder, "image"))
    unet.eval().requires_grad_(False)

    def loss(motion: nn.Module, draws: Draws) -> tuple[Tensor, dict[str, float]]:
        """Of clips at noise levels that are even on a logarithmic scale, as a sampler goes through them.

        The error is the picture's, over what was found to be left of it at each level, so that none drowns the others:
        how a clip moves is decided where there is much noise, and the noise's own error says little about that. What
        all frames have in common is mostly the image model's to know, so an error in how they differ weighs more; the
        best answer is the same.
        """
        total = 0.0
        for number, share in enumerate(draws.numpy.random(CLIPS)):
            level = math.exp(LOWEST + (HIGHEST - LOWEST) * (number + share) / CLIPS)
            timestep = (SCHEDULE.sigmas - level).abs().argmin()
            sigma = SCHEDULE.sigmas[timestep]
            chosen = int(draws.numpy.integers(len(data)))
            look, shots = clip(chosen)
            words = contexts_of(text, draws, [world.Scene(look, shots[0])], acting=0.9)
            clean = data[chosen].float() * DEMO.scaling_factor
            noise = torch.randn(clean.shape, generator=draws.torch)
            noised = (clean + sigma * noise) / (1 + sigma**2).sqrt()
            # Torch's fused attention goes backward slowly on processors: a third of a step.
            with inserted_motion(unet, motion), mixed_precision(), sdpa_kernel(SDPBackend.MATH):
                predicted = unet(noised, timestep.expand(FRAMES), words.expand(FRAMES, -1, -1)).sample.float()
            error = predicted - noise
            still = error.mean(0)
            error = (still.square().mean() + MOVEMENT * (error - still).square().mean()) / (1 + MOVEMENT) * 2
            total += (1 + sigma**2) * error / (0.08 + 0.03 * sigma) / CLIPS
        return total, {}

    def report(motion: nn.Module, folder: Path) -> dict[str, float]:
        with torch.no_grad():
            losses = [loss(motion, Draws(1, step))[0].item() for step in range(16)]
        return {"fixed_loss": np.mean(losses)}

    return Stage(module, loss, report, steps=6000, learning_rate=5e-4, weight_decay=0.01, average=0.99, optimizers=muon)
