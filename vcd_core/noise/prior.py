"""Gaussian noise that remembers the previous frame.

The 3D Gaussian noise prior of Magic-Me (arXiv:2402.09368, section 3.2) asks for noise whose frames m and n
have covariance γ^|m−n| at every place, independent over channels and pixels. That is exactly a first-order
autoregressive chain over frames, so no covariance matrix is needed, the cost is linear in frames, and a
chain can be continued where an earlier one stopped:

    ε_0 = z_0,    ε_t = γ ε_{t−1} + √(1 − γ²) z_t,    z_t ~ N(0, 1)
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..kernels import ar1_scan, ar1_step, philox_ar1


def correlate(white: Tensor, gamma: float, previous: Tensor | None = None) -> Tensor:
    """Turns independent frames into frames with covariance γ^|m−n|; each frame's own variance is kept.

    Args:
        white: (F, ...) independent N(0, 1) noise, frames first. It is not changed.
        gamma: γ in [0, 1]. 0 returns the values of `white`, 1 repeats the first frame.
        previous: (...) the last frame of the chain to be continued; without it a new chain starts at white[0].

    Returns:
        (F, ...), dtype and device of `white`.

    Raises:
        ValueError: gamma outside [0, 1], or `previous` is not the shape of one frame.
    """
    _check_gamma(gamma)
    _check_previous(previous, white.shape[1:])
    return ar1_scan(white, gamma, previous)


def correlated_noise(
    shape: Sequence[int],
    gamma: float,
    generator: torch.Generator,
    *,
    previous: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Draws N(0, 1) noise whose frames m and n have covariance γ^|m−n|.

    White noise is drawn frame by frame and the chain runs in float32, so a clip may be cut anywhere: with
    `previous` the last float32 frame and the same generator, the second piece continues the first exactly.

    Args:
        shape: (F, C, H, W), frames first; any number of trailing axes.
        gamma: γ in [0, 1]. 0 gives independent frames, 1 repeats the first.
        generator: the only source of randomness; the noise is drawn and returned on its device.
        previous: (C, H, W) the frame before the first, to continue a chain.
        dtype: of the result.

    Raises:
        ValueError: gamma outside [0, 1], or `previous` is not the shape of one frame.
    """
    _check_gamma(gamma)
    frames, *frame_shape = shape
    _check_previous(previous, frame_shape)
    device = generator.device
    if previous is not None:
        previous = previous.to(device, torch.float32)

    if device.type == "cuda":
        white = torch.empty(frames, *frame_shape, device=device)
        for frame in white:
            torch.randn(*frame_shape, generator=generator, device=device, out=frame)
        return ar1_scan(white, gamma, previous, in_place=True).to(dtype)

    noise = torch.empty(frames, *frame_shape, dtype=dtype, device=device)  # each frame while it is in the caches
    for frame in noise:
        in_place = frame if dtype == torch.float32 else None
        white = torch.randn(*frame_shape, generator=generator, device=device, out=in_place)
        previous = ar1_step(white, gamma, previous)
        frame.copy_(previous)
    return noise


def counter_noise(
    shape: Sequence[int],
    gamma: float,
    seed: int,
    *,
    first_frame: int = 0,
    previous: Tensor | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draws N(0, 1) noise whose frames m and n have covariance γ^|m−n|, for clips that live on a GPU.

    The white noise of a frame follows from the seed and the frame's number, by the counter-based generator Philox
    (see `philox_ar1`), so any frame of it can be drawn without those before, and a CPU and a GPU agree up to float32's
    rounding. It is another noise than that of `correlated_noise` for the same seed.

    Args:
        shape: (F, C, H, W), frames first; any number of trailing axes.
        gamma: γ in [0, 1]. 0 gives independent frames, 1 repeats the first.
        seed: in [0, 2⁶⁴).
        first_frame: the number of the first frame that is drawn.
        previous: (C, H, W) the frame before it, to continue a chain.
        device: where the noise is drawn and returned, in float32.

    Raises:
        ValueError: gamma outside [0, 1], a seed or a frame outside its range, or `previous` is not the shape of one
            frame.
    """
    _check_gamma(gamma)
    _check_previous(previous, shape[1:])
    if not 0 <= seed < 2**64:
        raise ValueError(f"the seed must lie in [0, 2^64), got {seed}")
    if not 0 <= first_frame <= 2**31 - shape[0]:
        raise ValueError(f"frames are numbered from 0 to 2^31 - 1, got {shape[0]} from {first_frame}")
    if previous is not None:
        previous = previous.to(device, torch.float32).contiguous()
    return philox_ar1(shape, gamma, seed, first_frame=first_frame, previous=previous, device=device)


def _check_gamma(gamma: float) -> None:
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma must lie in [0, 1] (0: independent frames, 1: one frozen frame), got {gamma}")


def _check_previous(previous: Tensor | None, frame_shape: Sequence[int]) -> None:
    if previous is not None and previous.shape != tuple(frame_shape):
        raise ValueError(f"previous must be one frame of shape {tuple(frame_shape)}, got {tuple(previous.shape)}")
