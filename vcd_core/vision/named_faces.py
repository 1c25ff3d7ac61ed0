"""Whatever words name, in the place of faces: the heads of animals, and things."""

from dataclasses import dataclass

from torch import Tensor

from .faces import Face
from .segmentation import MOST_ELONGATED, BoxDetector, distinct
from .working_size import as_rgb

LICENCE = "GroundingDINO: Apache-2.0 licence."


def check_words(prompt: str) -> None:
    """Raises ValueError for a prompt that names nothing."""
    if not prompt.strip(" .\t\n"):
        raise ValueError("the prompt is empty: write what to look for, such as cat head or human face")


@dataclass(frozen=True)
class NamedFaces:
    """A FaceDetector of what a prompt names, "cat head" or "teapot". Its faces have no landmarks.

    Attributes:
        detector: what finds boxes, such as GroundingDINO.
        prompt: several things are separated by full stops: "cat head. dog head".
        box_threshold: what scores less is not there. The published 0.3.
        text_threshold: a word scoring less does not count as matched; a box that matches no word is not there. The
            published 0.25.
    """

    detector: BoxDetector
    prompt: str
    box_threshold: float = 0.3
    text_threshold: float = 0.25

    def __post_init__(self) -> None:
        check_words(self.prompt)

    def detect(self, images: Tensor) -> list[list[Face]]:
        """In (F, 3, H, W) in [0, 1]; pictures like a thread have nothing in them."""
        images = as_rgb(images)
        height, width = images.shape[-2:]
        if max(height, width) > MOST_ELONGATED * min(height, width):
            return [[] for _ in images]
        return [self._faces(image) for image in images]

    def _faces(self, image: Tensor) -> list[Face]:
        found = self.detector.detect(image.movedim(0, -1), self.prompt, self.box_threshold, self.text_threshold)
        return [Face(finding.box, finding.score) for finding in distinct(found)]
