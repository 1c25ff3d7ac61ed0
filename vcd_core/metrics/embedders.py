"""What turns pictures into features: the port, and faces as one of its kinds."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from ..vision import FaceDetector


class Embedder(Protocol):
    """Anything that makes features of pictures.

    Attributes:
        name: which network it is, for reports.
    """

    name: str

    def embed_images(self, images: Sequence[Tensor]) -> Tensor:
        """(N, D) float32 on the CPU, of pictures (H, W, 3) in [0, 1], each of its own size; not a number in the row of
        one that shows nothing to look at."""


class TextEmbedder(Embedder, Protocol):
    """An Embedder that compares pictures with words."""

    def embed_text(self, text: str) -> Tensor:
        """(D,); raises ValueError if the text is longer than the network takes."""


class FaceEmbedder:
    """Who is to be seen: the embedding of each picture's largest face.

    Args:
        detector: one that recognises people, such as insightface's (ArcFace).
        name: of its network, for reports.
    """

    def __init__(self, detector: FaceDetector, name: str) -> None:
        self.detector = detector
        self.name = name

    def embed_images(self, images: Sequence[Tensor]) -> Tensor:
        """(N, D), not a number where there is no face; (N, 1) if there is none in any.

        Raises:
            ValueError: the detector finds faces and does not recognise them.
        """
        found = [max(self.detector.detect(image.movedim(-1, 0)[None])[0], key=_area, default=None) for image in images]
        if any(face is not None and face.embedding is None for face in found):
            raise ValueError("the face detector does not recognise people: take insightface for the likeness of faces")
        width = next((len(face.embedding) for face in found if face is not None), 1)
        nobody = torch.full((width,), torch.nan)
        rows = [nobody if face is None else face.embedding.float().cpu() for face in found]
        return torch.stack(rows) if rows else torch.empty(0, width)


def _area(face) -> float:
    x0, y0, x1, y1 = face.box
    return (x1 - x0) * (y1 - y0)
