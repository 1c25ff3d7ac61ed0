"""Noise levels: what the model was trained on, and which of them a sampler visits.

σ is the standard deviation of the noise relative to the data, σ² = (1 − ᾱ) / ᾱ (Karras et al.,
arXiv:2206.00364, with the variance-preserving ᾱ of DDPM).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class DiscreteSchedule:
    """The σ of every training timestep, rising.

    Attributes:
        sigmas: (T,) float32.
    """

    sigmas: Tensor

    @classmethod
    def from_betas(
        cls,
        kind: Literal["scaled_linear", "linear"] = "scaled_linear",
        *,
        timesteps: int = 1000,
        beta_start: float = 0.00085,
        beta_end: float = 0.012,
    ) -> "DiscreteSchedule":
        """Builds DDPM's schedule from its β.

        Args:
            kind: "scaled_linear" is Stable Diffusion 1.5's own (√β is linear), "linear" AnimateDiff's (diffusers'
                names; ComfyUI calls them "linear" and "sqrt_linear").
        """
        if kind == "scaled_linear":
            betas = torch.linspace(beta_start**0.5, beta_end**0.5, timesteps, dtype=torch.float64) ** 2
        elif kind == "linear":
            betas = torch.linspace(beta_start, beta_end, timesteps, dtype=torch.float64)
        else:
            raise ValueError(f'the beta schedule must be "scaled_linear" or "linear", got {kind!r}')
        alphas_cumprod = torch.cumprod(1 - betas, dim=0)
        return cls(((1 - alphas_cumprod) / alphas_cumprod).sqrt().float())

    def sigma(self, timestep: Tensor) -> Tensor:
        """σ at timesteps that may lie between two training ones: log σ is interpolated linearly."""
        timestep = timestep.float().clamp(0, len(self.sigmas) - 1)
        low = timestep.floor().long()
        high = timestep.ceil().long()
        weight = timestep - low
        log_sigmas = self.sigmas.to(timestep.device).log()
        return ((1 - weight) * log_sigmas[low] + weight * log_sigmas[high]).exp()

    def timestep(self, sigma: Tensor) -> Tensor:
        """The training timestep whose σ is nearest in log σ; long, of sigma's shape."""
        log_sigmas = self.sigmas.to(sigma.device).log()
        return (sigma.log().unsqueeze(-1) - log_sigmas).abs().argmin(dim=-1)


def normal_sigmas(schedule: DiscreteSchedule, steps: int) -> Tensor:
    """Timesteps evenly spaced over the whole schedule, then 0: (steps + 1,), falling. ComfyUI's "normal"."""
    last = len(schedule.sigmas) - 1
    return _append_zero(schedule.sigma(torch.linspace(last, 0, steps)))


def karras_sigmas(schedule: DiscreteSchedule, steps: int, *, rho: float = 7.0) -> Tensor:
    """σ^(1/ρ) evenly spaced, then 0: (steps + 1,), falling (arXiv:2206.00364, equation 5)."""
    low, high = schedule.sigmas[0].item(), schedule.sigmas[-1].item()
    ramp = torch.linspace(0, 1, steps)
    return _append_zero((high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho)


def partial_sigmas(sigmas_of: Callable[[int], Tensor], steps: int, strength: float) -> Tensor:
    """The σ of a partial denoising, as ComfyUI's `denoise` means it.

    The last `steps` steps of a schedule of int(steps / strength) steps, so that all steps are taken.

    Args:
        sigmas_of: number of steps -> (steps + 1,) falling σ.
        strength: in [0, 1]. 1: the whole schedule; 0: none, an empty tensor.

    Raises:
        ValueError: strength outside [0, 1].
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must lie in [0, 1] (0: unchanged, 1: from pure noise), got {strength}")
    if strength == 0:
        return torch.empty(0)
    return sigmas_of(int(steps / strength))[-(steps + 1) :]


def start_latents(noise: Tensor, sigma: Tensor, latents: Tensor | None = None) -> Tensor:
    """What the sampler starts from at level σ: the noised clip, or noise alone when there is no clip.

    Noise alone gets the standard deviation √(1 + σ²) that a noised clip of unit variance would have.
    """
    if latents is None:
        return noise * math.sqrt(1 + float(sigma) ** 2)
    return latents + sigma * noise


def _append_zero(sigmas: Tensor) -> Tensor:
    return torch.cat([sigmas, sigmas.new_zeros(1)])
