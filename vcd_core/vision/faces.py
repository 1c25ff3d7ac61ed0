"""What a face detector finds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Face:
    """One face in one picture.

    Attributes:
        box: (x0, y0, x1, y1) pixels, end-exclusive; may reach beyond the picture.
        score: how sure the detector is, in [0, 1].
        landmarks: (5, 2) pixels x, y: the eye, then the other, as they are seen from left to right, the nose, the
            left and the right corner of the mouth; None if the detector knows none.
        embedding: (D,) of unit length, alike for pictures of the same person; None if the detector knows none.
    """

    box: tuple[float, float, float, float]
    score: float
    landmarks: Tensor | None = None
    embedding: Tensor | None = None


class FaceDetector(Protocol):
    """Anything that finds faces."""

    def detect(self, images: Tensor) -> Sequence[Sequence[Face]]:
        """The faces of each picture of a batch (F, 3, H, W) in [0, 1], best first."""
