"""What the benchmark asks of whatever has subjects, a model and scores."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

from vcd_core.identity import Photo, Recipe
from vcd_core.standalone.model import Prompt, StableDiffusion

STAGES = ("t2v", "face", "tiled")
"""How far a clip goes: as it is drawn, its faces drawn anew, enlarged in tiles; each holds those before it."""


class World(Protocol):
    """Subjects, a model that draws them, and what tells how well.

    Attributes:
        subjects: names of all there are, each a part of a file's name.
        prompts: all there are, or () where the plan has to bring them; {} stands for "a woman", whoever that is.
        styles: names that `model` takes, the one that methods learn on first.
        scores: names -> 1 where more is better, -1 where less is, 0 where it only describes.
        meanings: names of scores -> what each is and what measured it, for reports.
        fps: of the clips, for their files.
        fingerprint: changes with the way clips are drawn from prompts, and the way they are scored.
    """

    subjects: Sequence[str]
    prompts: Sequence[str]
    styles: Sequence[str]
    scores: Mapping[str, int]
    meanings: Mapping[str, str]
    fps: float
    fingerprint: str

    def recipe(self, subject: str) -> Recipe:
        """How our own method learns this subject, noun and seed included."""

    def caption(self, subject: str) -> str:
        """Its noun and all else that is to be seen of it, in words; raises ValueError where nobody knows that."""

    def photos(self, subject: str) -> list[Photo]:
        """With masks and captions, where there are any; raises ValueError where they cannot be read."""

    def model(self, style: str) -> StableDiffusion:
        """Loaded once a style."""

    def clip(self, model: StableDiffusion, subject: Prompt, prompt: str, seed: int, gamma: float, stage: str) -> Tensor:
        """(F, H, W, 3) in [0, 1].

        Args:
            subject: what to put for {}, in pieces; begins with "a".
            stage: one of `STAGES`.
        """

    def settings_of(self, stage: str, style: str) -> tuple:
        """What else the clips of this stage and style follow from."""

    def score(self, subject: str, prompt: str, clip: Tensor) -> Mapping[str, float]:
        """Of `scores`, those that this clip has; raises ValueError for a clip that cannot be scored."""
