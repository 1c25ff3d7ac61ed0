"""Classifier-free guidance (arXiv:2207.12598)."""

from collections.abc import Callable

from torch import Tensor

Denoise = Callable[[Tensor, Tensor], Tensor]
"""`denoise(x, sigma) -> x0`: x (F, C, h, w) noised data, sigma a scalar tensor; x0 of x's shape."""


def classifier_free_guidance(conditional: Denoise, unconditional: Denoise, scale: float) -> Denoise:
    """x0 = x0_u + scale (x0_c − x0_u); at scale 1 the unconditional model is not called."""

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        if scale == 1:
            return conditional(x, sigma)
        x0 = unconditional(x, sigma)
        return x0 + scale * (conditional(x, sigma) - x0)

    return denoise
