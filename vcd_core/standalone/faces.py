"""Face VCD with diffusers: faces drawn anew by a model, a prompt and a motion module."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ..faces import Refine
from ..motion import MotionModule
from ..noise import correlated_noise
from ..sampling import inpainting, partial_sigmas, start_latents
from .model import Prompt, StableDiffusion
from .motion import inserted_motion
from .pipeline import SCHEDULERS, Sampling, guided, sampled


@torch.no_grad()
def face_refiner(
    model: StableDiffusion,
    prompt: Prompt,
    negative: Prompt,
    sampling: Sampling,
    motion: MotionModule | None = None,
    progress: Callable[[], object] = lambda: None,
) -> Refine:
    """The `refine` of `vcd_core.faces.refine_faces` for one person: her prompt, drawn by this model.

    Args:
        motion: lets the frames of a window see each other, on AnimateDiff's noise levels; a window is at most as long
            as it knows.
        progress: called after every step.

    Raises:
        ValueError: a prompt too long, or a motion module for another UNet.
    """
    schedule, denoise = guided(model, prompt, negative, sampling.cfg, motion)

    @torch.no_grad()
    def refine(clip: Tensor, mask: Tensor, noise: Tensor, strength: float) -> Tensor:
        latents = model.encode(clip.movedim(-1, 1) * 2 - 1)
        noise = noise.to(latents)
        where = F.interpolate(mask[:, None].to(latents), latents.shape[-2:], mode="area")
        sigmas = partial_sigmas(partial(SCHEDULERS[sampling.scheduler], schedule), sampling.steps, strength)
        sigmas = sigmas.to(latents.device)
        generator = torch.Generator().manual_seed(sampling.seed)

        def noise_of(_step: int) -> Tensor:
            return correlated_noise(latents.shape, sampling.gamma, generator)

        with inserted_motion(model.unet, motion) if motion is not None else nullcontext():
            drawn = sampled(
                inpainting(denoise, latents, noise, where),
                start_latents(noise, sigmas[0], latents),
                sigmas,
                sampling.sampler,
                noise_of,
                progress,
            )
        return (model.decode(drawn).movedim(1, -1) * 0.5 + 0.5).cpu()

    return refine
