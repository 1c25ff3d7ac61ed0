"""Detectors that look at pictures of another size than those that come in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from .faces import Face, FaceDetector

FRAMES_AT_ONCE = 8
SMALLEST = 32  # pixels; the coarsest grid of these networks


@dataclass(frozen=True)
class AtWorkingSize:
    """A FaceDetector that shows another one pictures of a chosen size, a few at a time.

    What is found is told in pixels of the pictures that came in. Grey pictures (F, 1, H, W) are looked at too, and
    alpha (F, 4, H, W) is left out.

    Attributes:
        detector: what looks at them.
        size: pixels of the longer side that it sees. Smaller pictures are enlarged.
    """

    detector: FaceDetector
    size: int

    def __post_init__(self) -> None:
        if self.size < SMALLEST:
            raise ValueError(f"the working size must be {SMALLEST} pixels or more, not {self.size}; 640 is usual")

    def detect(self, images: Tensor) -> list[list[Face]]:
        found = []
        for frames in chunks(as_rgb(images)):
            shown, scale = _resized(frames, self.size)
            found += [[_scaled(face, scale) for face in faces] for faces in self.detector.detect(shown)]
        return found


def chunks(images: Tensor) -> Iterator[Tensor]:
    """The batch in parts of `FRAMES_AT_ONCE`."""
    for first in range(0, len(images), FRAMES_AT_ONCE):
        yield images[first : first + FRAMES_AT_ONCE]


def as_rgb(images: Tensor) -> Tensor:
    """(F, 3, H, W) from pictures that may be grey (F, 1, H, W) or have alpha (F, 4, H, W), which is left out.

    Raises:
        ValueError: it is no batch of pictures.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3, 4) or 0 in images.shape[2:]:
        raise ValueError(f"pictures must be (F, 3, H, W), channels second, not {tuple(images.shape)}")
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images[:, :3]


def _resized(images: Tensor, longer: int) -> tuple[Tensor, tuple[float, float]]:
    """(F, 3, h, w) in float32 on the CPU, and by how much x and y grew."""
    height, width = images.shape[-2:]
    inner = [max(1, round(side * longer / max(height, width))) for side in (height, width)]
    images = images.float().cpu()
    if inner != [height, width]:
        images = F.interpolate(images, inner, mode="bilinear", antialias=True)
    return images.clamp(0, 1), (inner[1] / width, inner[0] / height)


def _scaled(face: Face, scale: Sequence[float]) -> Face:
    """A face that was found in a picture grown by scale (x, y), where it is in the picture itself."""
    box = tuple(edge / by for edge, by in zip(face.box, (*scale, *scale), strict=True))
    landmarks = None if face.landmarks is None else face.landmarks / torch.tensor(scale)
    return replace(face, box=box, landmarks=landmarks)
