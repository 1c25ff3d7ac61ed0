"""Diffusion schedules, k-diffusion-shaped samplers and guidance over a `denoise(x, sigma) -> x0` function."""

from .guidance import classifier_free_guidance
from .inpainting import inpainting
from .samplers import SAMPLERS, ddim, dpmpp_2m, euler, euler_ancestral
from .schedule import DiscreteSchedule, karras_sigmas, normal_sigmas, partial_sigmas, start_latents

__all__ = [
    "SAMPLERS",
    "DiscreteSchedule",
    "classifier_free_guidance",
    "ddim",
    "dpmpp_2m",
    "euler",
    "euler_ancestral",
    "inpainting",
    "karras_sigmas",
    "normal_sigmas",
    "partial_sigmas",
    "start_latents",
]
