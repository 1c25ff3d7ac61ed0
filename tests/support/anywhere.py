"""A world of the identity benchmark that opens at once, and what happens in it."""

import os
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn

from benchmarks.baselines import METHODS
from vcd_core.identity import Photo, Recipe

FRAMES = 3
PLAN = """
world: demo
subjects: 2
prompts: ["a photo of {} here", "a portrait of {}, there"]
seeds: 2
sheets: 1
rows:
  - {method: vcd}
  - {method: lora, prompts: 1}
"""
COUNT = 8 + 4


@dataclass(frozen=True)
class Pretending:
    """A method that learns the number of photos that have masks, and a half for each that has a caption."""

    rate: float = 1.0
    learned = []  # the noun and the steps of every lesson

    def learn(self, model, lesson):
        self.learned.append((lesson.recipe.noun, lesson.recipe.options.steps))
        found = sum((photo.mask is not None) + bool(photo.caption) / 2 for photo in lesson.photos)
        return {"masks": torch.tensor([found])}

    @contextmanager
    def applied(self, model, learned, noun):
        yield model, [f"a {noun}", learned["masks"]]


PRETENDED = {"vcd": Pretending, "lora": Pretending}


class Anywhere:
    """A world in which a clip's score follows from all that it is asked for, and making one can be made to fail."""

    subjects = ("ann", "bob", "cat")
    prompts = ()
    styles = ("plain", "ink")
    scores = {"alike": 1, "flicker": -1, "motion": 0}
    meanings = {"alike": "how bright", "flicker": "always a half", "motion": "never known"}
    fps = 8.0
    fingerprint = "somewhere"
    settings = {}

    def __init__(self, before_clip=lambda number: None):
        self.before_clip, self.made = before_clip, 0

    def recipe(self, subject):
        return Recipe(f"{subject} noun", 16)

    def caption(self, subject):
        return f"{subject} in many words"

    def photos(self, subject):
        image = torch.full((4, 4, 3), self.subjects.index(subject) / 3)
        return [Photo("1.png", image, torch.ones(4, 4), "on a beach")]

    def model(self, style):
        part = nn.Linear(1, 1)
        nn.init.ones_(part.weight)
        nn.init.zeros_(part.bias)
        return SimpleNamespace(unet=part, text_encoder=part, vae=part)

    def clip(self, model, subject, prompt, seed, gamma, stage):
        self.made += 1
        self.before_clip(self.made)
        level = (len(subject[0]) + float(subject[1]) + len(prompt) + seed + gamma + len(stage)) / 100
        return torch.full((FRAMES, 16, 16, 3), level)

    def settings_of(self, stage, style):
        return self.settings.get(stage, ())

    def score(self, subject, prompt, clip):
        return {"alike": clip.mean().item(), "flicker": 0.5, "motion": float("nan")}


class Watched(Anywhere):
    """The same, for several processes: what each begins is noted in a folder, and some of it ends them.

    Attributes:
        folder: holds "begun", a line "PID SUBJECT SEED PROMPT" a clip. A process that begins the clip of a file "kill
            SUBJECT SEED PROMPT" is ended, once for each letter in it; "hold …" lets it wait until that is gone.
    """

    def __init__(self, folder: Path):
        super().__init__()
        self.folder = folder

    def clip(self, model, subject, prompt, seed, gamma, stage):
        clip = f"{subject[0].split()[1]} {seed} {prompt}"
        with (self.folder / "begun").open("a") as begun:
            begun.write(f"{os.getpid()} {clip}\n")
        while (self.folder / f"hold {clip}").exists():
            time.sleep(0.01)
        kill = self.folder / f"kill {clip}"
        if kill.exists() and (left := kill.read_text()):
            kill.write_text(left[1:])
            os.kill(os.getpid(), signal.SIGKILL)
        return super().clip(model, subject, prompt, seed, gamma, stage)


def open_watched(folder: Path) -> Watched:
    """For a process of its own: its methods are pretended from now on."""
    METHODS.update(PRETENDED)
    return Watched(folder)
