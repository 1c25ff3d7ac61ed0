"""The demo world for the identity benchmark: strangers, prompts in places that no photo shows, and what reads clips.

A `World` as benchmarks/clips/world.py describes one. It is found there by its name: neither package imports the other.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vcd_core.faces import RefineOptions
from vcd_core.identity import Photo, Recipe
from vcd_core.metrics import likeness_of_neighbours, motion_and_flicker
from vcd_core.motion import MotionModule
from vcd_core.standalone.console import best_device
from vcd_core.standalone.demo_model import (
    DETECTOR_FILE,
    MODEL_FILE,
    MOTION_FILE,
    STYLE_FILE,
    load_demo_model,
    load_demo_motion,
)
from vcd_core.standalone.model import Prompt, StableDiffusion
from vcd_core.standalone.pipeline import ClipOptions, make_clip

from . import measure, run, world
from .evaluate import character
from .faces import CROP, NEAR, STRENGTH, draw_faces_anew
from .faces import GAMMA as FACE_GAMMA
from .people import NEW_PLACES, PHOTO_PLACES, whole_photos
from .reader import similarity
from .tiles import OPTIONS, PART, STEPS, enlarge
from .weights import READER_FILE, WEIGHTS, load_eyes

MOST_SUBJECTS = 100
OPENINGS = ("a photo of", "a portrait of", "a half body photo of", "a full body photo of", "a close up photo of")
DOINGS = ("", "walking ", "waving ", "turning the head ", "nodding ")
PROMPTS = tuple(
    f"{OPENINGS[number % 5]} {{}} {DOINGS[number // 5]}{NEW_PLACES[number % len(NEW_PLACES)]}" for number in range(25)
)
"""The first five are of every framing, and stand; each five after them do something else."""
SCORES = {"similarity": 1, "place right": 1, "leak": -1, "smoothness": 1, "motion": 0, "flicker": -1}
MEANINGS = {
    "similarity": "share of the subject's attributes that the demo's reader, a network trained on this world, finds in "
    "a frame, colours by their nearness; 0 where it sees no face",
    "place right": "share of the frames in which the reader sees the place that the prompt names",
    "leak": "share of the frames in which it sees a place of the photos that the prompt does not name",
    "smoothness": "correlation of the pixels of each frame and the next",
    "motion": "mean length of the optical flow (DIS) from frame to frame, over the picture's diagonal",
    "flicker": "mean square of what differs when the next frame is laid over by its flow",
}
VERSION = 1  # of how clips are drawn and scored here


def open_world(clip: Mapping[str, float], steps: int | None) -> "DemoWorld":
    """The demo world with other frames, steps or cfg of its clips, and other steps of learning, where these are given.

    Raises:
        ValueError: a setting that the demo model does not have, or more frames than it knows.
    """
    if unknown := clip.keys() - {"frames", "steps", "cfg"}:
        raise ValueError(f"clips of the demo have frames, steps and cfg; {', '.join(sorted(unknown))} cannot be set")
    options = ClipOptions(run.FRAMES, run.SIZE, measure.STEPS, measure.CFG)
    return DemoWorld(replace(options, **clip), steps or run.STEPS)


@functools.cache
def _loaded(second_style: bool) -> StableDiffusion:
    return load_demo_model(WEIGHTS, style=second_style, device=best_device())


class DemoWorld:
    """Strangers of combinations held out from training, by number.

    Args:
        options: of a clip; gamma and seed are set for each.
        steps: of learning.
    """

    subjects: Sequence[str] = tuple(f"character{number:02}" for number in range(MOST_SUBJECTS))
    prompts: Sequence[str] = PROMPTS
    styles: Sequence[str] = world.STYLES
    scores: Mapping[str, int] = SCORES
    meanings: Mapping[str, str] = MEANINGS
    fps = run.FPS

    def __init__(self, options: ClipOptions, steps: int) -> None:
        cv2.setNumThreads(1)
        self.options, self.steps = options, steps
        files = (MODEL_FILE, MOTION_FILE, STYLE_FILE, DETECTOR_FILE, READER_FILE)
        self.fingerprint = measure.fingerprint(files, VERSION, options)
        if options.frames > (most := self.motion.config.max_frames):
            raise ValueError(f"the demo's motion module knows {most} frames at most, not {options.frames}")

    @functools.cached_property
    def motion(self) -> MotionModule:
        return load_demo_motion(WEIGHTS, device=best_device())

    @functools.cached_property
    def eyes(self) -> measure.Eyes:
        return load_eyes()

    def model(self, style: str) -> StableDiffusion:
        return _loaded(style != self.styles[0])

    def recipe(self, subject: str) -> Recipe:
        number = self.subjects.index(subject)
        recipe = run.recipe_of(character(number).noun, number)
        return replace(recipe, options=replace(recipe.options, steps=self.steps))

    def caption(self, subject: str) -> str:
        (words,) = measure.by_caption(character(self.subjects.index(subject)))
        return words.removeprefix("a ")

    def photos(self, subject: str) -> list[Photo]:
        number = self.subjects.index(subject)
        return list(whole_photos(character(number), number, captioned=True))

    def clip(self, model: StableDiffusion, subject: Prompt, prompt: str, seed: int, gamma: float, stage: str) -> Tensor:
        before, after = prompt.split("{}")
        options = replace(self.options, gamma=gamma, seed=seed)
        clip = make_clip(model, [before, *subject, after], [""], options, self.motion)
        if stage != "t2v":
            near = [f"{NEAR} ", *subject, after]
            clip, _ = draw_faces_anew(model, self.motion, self.eyes.detector, clip, near, seed, FACE_GAMMA)
        if stage == "tiled":
            clip = enlarge(model, self.motion, clip, [f"{PART} ", *subject, after], seed, gamma)
        return clip

    def settings_of(self, stage: str, style: str) -> tuple:
        faces = (CROP, RefineOptions(STRENGTH, FACE_GAMMA), NEAR)
        return {"t2v": (), "face": faces, "tiled": (*faces, OPTIONS, STEPS, PART)}[stage]

    def score(self, subject: str, prompt: str, clip: Tensor) -> dict[str, float]:
        """Faces and places are read at the size that the reader was trained on."""
        look = character(self.subjects.index(subject))
        frames = clip.movedim(-1, 1)
        if frames.shape[-2:] != (run.SIZE, run.SIZE):
            frames = F.interpolate(frames, (run.SIZE, run.SIZE), mode="area")
        readings = self.eyes.read(frames)
        motion, flicker = motion_and_flicker(clip)
        return {
            "similarity": float(np.mean([similarity(look, one) for one in readings])),
            "place right": float(np.mean([one.place in prompt for one in readings])),
            "leak": float(np.mean([one.place in PHOTO_PLACES and one.place not in prompt for one in readings])),
            "smoothness": likeness_of_neighbours(frames),
            "motion": motion.mean().item(),
            "flicker": torch.nanmean(flicker).item(),
        }
