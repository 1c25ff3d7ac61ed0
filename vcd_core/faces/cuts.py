"""Where one shot of a clip ends and the next begins."""

import numpy as np
import torch.nn.functional as F
from torch import Tensor

THUMBNAIL = 32  # pixels
LEAST_CHANGE = 0.08  # mean absolute difference of two thumbnails in [0, 1]
CONTRAST = 3.0  # times the change before and after it


class CutFinder:
    """Finds cuts in a clip that comes frame by frame: changes that are large, and large beside their neighbours.

    A fast movement changes every frame, a flash changes two; a cut stands alone.
    """

    def __init__(self) -> None:
        self._last: Tensor | None = None
        self._changes: list[float] = []

    def add(self, frame: Tensor) -> None:
        """The next frame, (H, W, 3) in [0, 1]."""
        small = F.adaptive_avg_pool2d(frame.movedim(-1, 0)[None], THUMBNAIL)
        self._changes.append(0.0 if self._last is None else (small - self._last).abs().mean().item())
        self._last = small

    def cuts(self) -> list[int]:
        """The frames that begin a new shot, without the first."""
        changes = np.array([0.0, *self._changes, 0.0])
        around = np.maximum(changes[:-2], changes[2:])
        middle = changes[1:-1]
        return np.flatnonzero((middle > LEAST_CHANGE) & (middle > CONTRAST * around)).tolist()
