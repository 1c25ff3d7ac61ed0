"""Samplers that know only `denoise(x, sigma) -> x0`, after k-diffusion.

Each integrates the probability-flow ODE dx/dσ = (x − x0(x, σ)) / σ, or its stochastic relative, from sigmas[0]
to sigmas[-1]. All take

    denoise: `denoise(x, sigma) -> x0`; x and x0 (F, C, h, w), sigma a scalar tensor.
    x: (F, C, h, w) the start, noised to sigmas[0].
    sigmas: (steps + 1,) falling; the last may be 0.
    callback: called as `callback(step, x0)` after each evaluation of the model.

and return (F, C, h, w) at sigmas[-1].
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .guidance import Denoise

Callback = Callable[[int, Tensor], None]
NoiseSampler = Callable[[Tensor, Tensor], Tensor]


@torch.no_grad()
def ddim(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    eta: float = 0.0,
    noise_sampler: NoiseSampler | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """DDIM (arXiv:2010.02502, equations 12 and 16), written in σ.

    With σ_up = η √(σ'² (σ² − σ'²) / σ²) one step from σ to σ' is

        x' = x0 + √(σ'² − σ_up²) (x − x0) / σ + σ_up z

    Args:
        eta: η ≥ 0. 0 is deterministic, 1 is ancestral sampling.
        noise_sampler: (sigma, sigma_next) -> z of x's shape; needed when eta > 0.
    """
    if eta > 0 and noise_sampler is None:
        raise ValueError("eta > 0 adds noise at every step: give a noise_sampler (it decides the seed)")
    for step, (sigma, sigma_next) in enumerate(zip(sigmas[:-1], sigmas[1:], strict=True)):
        x0 = denoise(x, sigma)
        if callback is not None:
            callback(step, x0)
        up = (eta * sigma_next * (1 - (sigma_next / sigma) ** 2).sqrt()).clamp(max=sigma_next)
        x = x0 + (sigma_next**2 - up**2).sqrt() * (x - x0) / sigma
        if up > 0:
            x = x + up * noise_sampler(sigma, sigma_next)
    return x


def euler(denoise: Denoise, x: Tensor, sigmas: Tensor, *, callback: Callback | None = None) -> Tensor:
    """Euler's method (arXiv:2206.00364, algorithm 1): first order. In σ it is DDIM with η = 0."""
    return ddim(denoise, x, sigmas, callback=callback)


def euler_ancestral(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    noise_sampler: NoiseSampler,
    eta: float = 1.0,
    callback: Callback | None = None,
) -> Tensor:
    """Euler steps that overshoot and add fresh noise back; see `ddim` for η and the noise sampler."""
    return ddim(denoise, x, sigmas, eta=eta, noise_sampler=noise_sampler, callback=callback)


@torch.no_grad()
def dpmpp_2m(denoise: Denoise, x: Tensor, sigmas: Tensor, *, callback: Callback | None = None) -> Tensor:
    """DPM-Solver++(2M) (arXiv:2211.01095, algorithm 2): second order, one evaluation a step.

    In λ = −log σ, with h = λ' − λ and r = h_previous / h:

        D = (1 + 1/2r) x0 − (1/2r) x0_previous,    x' = (σ'/σ) x − (e^{−h} − 1) D
    """
    previous_x0, previous_h = None, None
    for step, (sigma, sigma_next) in enumerate(zip(sigmas[:-1], sigmas[1:], strict=True)):
        x0 = denoise(x, sigma)
        if callback is not None:
            callback(step, x0)
        h = sigma.log() - sigma_next.log()
        if previous_x0 is None or sigma_next == 0:
            direction = x0
        else:
            r = previous_h / h
            direction = (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * previous_x0
        x = (sigma_next / sigma) * x - torch.expm1(-h) * direction
        previous_x0, previous_h = x0, h
    return x


SAMPLERS = {"euler": euler, "euler_ancestral": euler_ancestral, "dpmpp_2m": dpmpp_2m, "ddim": ddim}
"""By name. Those that add noise take `noise_sampler`: euler_ancestral always, ddim with eta > 0."""
