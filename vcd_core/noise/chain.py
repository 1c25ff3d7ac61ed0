"""The noise of a clip that is worked on in overlapping windows."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .prior import correlated_noise


class NoiseChain:
    """One clip's correlated noise, drawn frame by frame; windows that overlap share the noise of what they share.

    Args:
        frame_shape: of one frame's noise, (C, h, w).
        gamma: correlation of neighbouring frames.
        seed: of all of it.
    """

    def __init__(self, frame_shape: Sequence[int], gamma: float, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._gamma, self._shape = gamma, tuple(frame_shape)
        self._frames: dict[int, Tensor] = {}

    def of(self, span: range) -> Tensor:
        """(n, C, h, w) of frames that do not begin before those of the last call."""
        self._frames = {frame: noise for frame, noise in self._frames.items() if frame >= span[0] - 1}
        fresh = range(max(self._frames, default=span[0] - 1) + 1, span.stop)
        previous = self._frames.get(fresh.start - 1)
        more = correlated_noise((len(fresh), *self._shape), self._gamma, self._generator, previous=previous)
        self._frames |= dict(zip(fresh, more, strict=True))
        return torch.stack([self._frames[frame] for frame in span])
