"""Finding a subject by its name and cutting it out: words -> boxes -> one of them -> its mask."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .preview import draw_findings

BEST_SCORE, LARGEST, REFUSE = CHOICES = ("best score", "largest", "refuse if several")
SAME_SUBJECT = 0.5
"""Boxes that share more than this part of their union are taken for one subject."""
MOST_ELONGATED = 32
"""Longer pictures would be thinner than one cell of the networks' grids."""


@dataclass(frozen=True)
class Finding:
    """Something in a picture that a prompt may mean.

    Attributes:
        box: (x0, y0, x1, y1) pixels, end-exclusive, within the picture.
        score: how sure the detector is, in [0, 1].
        words: those of the prompt that it matches.
    """

    box: tuple[float, float, float, float]
    score: float
    words: str = ""


@dataclass(frozen=True)
class Segmentation:
    """A subject cut out of a picture.

    Attributes:
        mask: (H, W) float32, 1 on the subject and 0 elsewhere; never empty.
        chosen: the finding that the mask is of.
        found: everything that was found, best score first.
    """

    mask: Tensor
    chosen: Finding
    found: tuple[Finding, ...]


class NoSubject(ValueError):
    """There is nothing to cut out.

    Attributes:
        found: what was found all the same, best score first.
    """

    def __init__(self, message: str, found: tuple[Finding, ...] = ()) -> None:
        super().__init__(message)
        self.found = found


class SeveralSubjects(NoSubject):
    """There is more than one subject, and none was to be chosen.

    Attributes:
        picture: (H, W, 3) in [0, 1], the boxes that were found drawn on what they were found in.
    """

    def __init__(self, message: str, found: tuple[Finding, ...], picture: Tensor) -> None:
        super().__init__(message, found)
        self.picture = picture


class Segmenter(Protocol):
    """Anything that cuts a subject out of a picture by its name."""

    def segment(self, image: Tensor, prompt: str) -> Segmentation:
        """Image (H, W, 3) in [0, 1]. Raises NoSubject when it cannot."""


class BoxDetector(Protocol):
    """Anything that finds what words name."""

    def detect(self, image: Tensor, prompt: str, box_threshold: float, text_threshold: float) -> Sequence[Finding]:
        """In an image (H, W, 3) in [0, 1], in any order; one subject may be found several times."""


class BoxMasker(Protocol):
    """Anything that tells a subject from its background."""

    def mask(self, image: Tensor, box: tuple[float, float, float, float]) -> Tensor:
        """(H, W) float32 in {0, 1} of what fills the box, in an image (H, W, 3) in [0, 1]."""


@dataclass(frozen=True)
class PromptSegmenter:
    """A Segmenter of two networks, one that finds boxes and one that fills them.

    Attributes:
        box_threshold: what scores less is not there. The published 0.3.
        text_threshold: a word scoring less does not count as matched; a box that matches no word is not there. The
            published 0.25.
        choice: among several subjects: "best score", "largest" (of the boxes), or "refuse if several".
    """

    detector: BoxDetector
    masker: BoxMasker
    box_threshold: float = 0.3
    text_threshold: float = 0.25
    choice: str = BEST_SCORE

    def __post_init__(self) -> None:
        for name in ("box_threshold", "text_threshold"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must lie between 0 and 1, got {getattr(self, name)}; 0.2 to 0.4 is usual")
        if self.choice not in CHOICES:
            raise ValueError(f"choice must be one of {', '.join(CHOICES)}; got {self.choice!r}")

    def segment(self, image: Tensor, prompt: str) -> Segmentation:
        """The subject of an image (H, W, 3) in [0, 1] that the prompt names, such as "person" or "red cat".

        Raises:
            ValueError: the prompt is empty.
            NoSubject: nothing was found, or what was found has no mask.
            SeveralSubjects: several were found and `choice` is "refuse if several".
        """
        if not prompt.strip(" .\t\n"):
            raise ValueError("the prompt is empty: write what the subject is, such as person, cat or teapot")
        height, width = image.shape[:2]
        if max(height, width) > MOST_ELONGATED * min(height, width):
            raise NoSubject(f"{width}x{height} pixels are too long and thin to find anything in")

        found = distinct(self.detector.detect(image, prompt, self.box_threshold, self.text_threshold))
        if not found:
            raise NoSubject(f"nothing in it looks like {prompt.strip()!r} with a score of {self.box_threshold:g}")
        if len(found) > 1 and self.choice == REFUSE:
            raise SeveralSubjects(
                f"{len(found)} subjects look like {prompt.strip()!r}", found, draw_findings(image, found)
            )
        chosen = max(found, key=_area) if self.choice == LARGEST else found[0]
        mask = self.masker.mask(image, chosen.box)
        if not mask.any():
            raise NoSubject(f"the mask of what looks like {prompt.strip()!r} is empty", found)
        return Segmentation(mask, chosen, found)


def distinct(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings, best score first, without those that are another one found again."""
    from torchvision.ops import nms

    if not findings:
        return ()
    boxes = torch.tensor([finding.box for finding in findings])
    scores = torch.tensor([finding.score for finding in findings])
    return tuple(findings[index] for index in nms(boxes, scores, SAME_SUBJECT).tolist())


def _area(finding: Finding) -> float:
    x0, y0, x1, y1 = finding.box
    return (x1 - x0) * (y1 - y0)
