"""ComfyUI's samplers, with noise that is correlated over frames."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch
from comfy.k_diffusion.sampling import BrownianTreeNoiseSampler, default_noise_sampler

from .noise import CorrelatedNoiseSource, correlate_frames

EMPTY_LATENT_SCALE = ("downscale_ratio_spacial", "downscale_ratio_temporal")


@dataclass(frozen=True)
class Sampling:
    """What ComfyUI's samplers are told, by the names of KSampler's inputs."""

    model: object
    positive: object
    negative: object
    seed: int
    steps: int
    cfg: float
    sampler_name: str
    scheduler: str


def sample_with_correlated_noise(sampling: Sampling, latent_image: dict, denoise: float, gamma: float) -> dict:
    """KSampler's work with correlated starting and per-step noise: LATENT in, LATENT out."""
    # Newer hosts note the scale of an empty latent in it, and take it back out here; older ones know neither.
    scale = {key: latent_image[key] for key in EMPTY_LATENT_SCALE if key in latent_image}
    samples = comfy.sample.fix_empty_latent_channels(sampling.model, latent_image["samples"], **scale)
    noise = CorrelatedNoiseSource(sampling.seed, gamma).generate_noise({**latent_image, "samples": samples})
    denoised = sample(
        sampling,
        noise,
        samples,
        denoise=denoise,
        gamma=gamma,
        noise_mask=latent_image.get("noise_mask"),
        callback=latent_preview.prepare_callback(sampling.model, sampling.steps),
    )
    kept = {key: value for key, value in latent_image.items() if key not in EMPTY_LATENT_SCALE}
    return {**kept, "samples": denoised}


def sample(
    sampling: Sampling,
    noise: torch.Tensor,
    latents: torch.Tensor,
    *,
    denoise: float,
    gamma: float,
    noise_mask: torch.Tensor | None = None,
    callback: Callable | None = None,
) -> torch.Tensor:
    """Latents denoised from this very noise; what a sampler adds at its steps is correlated too."""
    model, name = sampling.model, sampling.sampler_name
    sigmas = comfy.samplers.KSampler(
        model, sampling.steps, model.load_device, name, sampling.scheduler, denoise, model.model_options
    ).sigmas
    return comfy.sample.sample_custom(
        model,
        noise,
        sampling.cfg,
        correlated_sampler(name, gamma),
        sigmas,
        sampling.positive,
        sampling.negative,
        latents,
        noise_mask=noise_mask,
        callback=callback,
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=sampling.seed,
    )


def correlated_sampler(name: str, gamma: float):
    """ComfyUI's sampler of this name; if it adds noise at every step, that noise is correlated too."""
    sampler = comfy.samplers.sampler_object(name)
    function = getattr(sampler, "sampler_function", None)
    if gamma > 0 and function is not None and "noise_sampler" in inspect.signature(function).parameters:
        sampler.sampler_function = _with_correlated_steps(function, _step_noise(name), gamma)
    return sampler


def _with_correlated_steps(function: Callable, step_noise: Callable, gamma: float) -> Callable:
    def sample(model, x, sigmas, extra_args=None, callback=None, disable=None, **options):
        white = step_noise(x, sigmas, (extra_args or {}).get("seed"))

        def noise_sampler(sigma, sigma_next):
            return correlate_frames(white(sigma, sigma_next), gamma)

        return function(
            model,
            x,
            sigmas,
            extra_args=extra_args,
            callback=callback,
            disable=disable,
            noise_sampler=noise_sampler,
            **options,
        )

    return sample


def _step_noise(name: str) -> Callable[[torch.Tensor, torch.Tensor, int | None], Callable]:
    """The white noise this sampler would draw by itself, so that gamma -> 0 approaches ComfyUI's own result."""
    if name.startswith("dpmpp") and "sde" in name:

        def brownian(x, sigmas, seed):
            return BrownianTreeNoiseSampler(
                x, sigmas[sigmas > 0].min(), sigmas.max(), seed=seed, cpu=not name.endswith("_gpu")
            )

        return brownian
    return lambda x, sigmas, seed: default_noise_sampler(x, seed=seed)
