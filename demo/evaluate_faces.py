"""Measures what Face VCD does for small faces: python -m demo.evaluate_faces [--characters 16] [--out FOLDER].

Each character's token (the one of `demo.evaluate`, where that has run) is drawn as a clip far away, with a face of 18
to 32 pixels, and Face VCD draws that face anew. The attribute reader says how much like the character each frame's face
is before and after. How smoothly it moves is the likeness of neighbouring frames where the picture was drawn anew, as
they are (smoothness) and laid over each other by their optical flow (steadiness). Both for several gammas of Face VCD's
noise. Clips are kept, so that a stopped run goes on where it was.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from vcd_core.metrics import likeness_of_neighbours, steadiness
from vcd_core.motion import MotionModule
from vcd_core.standalone.cli import exit_code
from vcd_core.standalone.demo_model import DETECTOR_FILE, MODEL_FILE, MOTION_FILE, load_demo_model, load_demo_motion
from vcd_core.standalone.model import StableDiffusion
from vcd_core.standalone.pipeline import ClipOptions, make_clip

from . import evaluate, measure
from .appearance import similarity
from .compare import interval
from .faces import CROP, NEAR, STRENGTH, draw_faces_anew
from .people import NEW_PLACES
from .report import frames_of, write_contact_sheet
from .weights import WEIGHTS, load_eyes

FRAMES, GAMMA = 16, 0.1  # of the clip
FAR = "a far away photo of"
FACE_GAMMAS = (0.1, 0.5, 1.0)
FLOW_SCALE = 4  # pictures are enlarged before the flow is found: faces can be of 20 pixels
HIDDEN = ("shirt", "pattern")  # what a face does not show
FIGURES = (
    "face, pixels",
    "found before",
    "after",
    "likeness before",
    "after",
    "gain",
    "smoothness before",
    "after",
    "gain",
    "steadiness before",
    "after",
    "gain",
)


def clips_of(
    model: StableDiffusion, motion: MotionModule, eyes: measure.Eyes, number: int, out: Path
) -> dict[str, Tensor]:
    """A character's clip before and after Face VCD of each gamma, (F, H, W, 3) in [0, 1]; what was drawn, (F, H, W)."""
    look, place = evaluate.character(number), NEW_PLACES[number % len(NEW_PLACES)]
    subject = measure.by_token(look, evaluate.vectors_of(model, number, out.parent))
    options = ClipOptions(FRAMES, measure.SIZE, measure.STEPS, measure.CFG, "euler", "normal", GAMMA, number)
    before = make_clip(model, [f"{FAR} ", *subject, f" {place}"], [""], options, motion)
    near = [f"{NEAR} ", *subject, f" {place}"]
    clips = {"before": before}
    for gamma in FACE_GAMMAS:
        drawn = draw_faces_anew(model, motion, eyes.detector, before, near, number, gamma)
        clips[f"after {gamma}"], clips["mask"] = drawn
    rows = [(f"character {number}: {name}", frames_of(clip)) for name, clip in clips.items() if name != "mask"]
    write_contact_sheet(out / f"{number:02}.png", rows)
    return clips


def figures_of(eyes: measure.Eyes, number: int, clips: dict[str, Tensor], gamma: float) -> tuple[float, ...]:
    """FIGURES of one character, means over its frames; likeness over those in which a face was found in both clips.

    Smoothness and steadiness are not a number where nothing was drawn anew.
    """
    look, where = evaluate.character(number), clips["mask"].amax(0) > 0.5
    compared = [clips[name] for name in ("before", f"after {gamma}")]
    read = [eyes.read(clip.movedim(-1, 1)) for clip in compared]
    both = [pair for pair in zip(*read, strict=True) if all(one.look is not None for one in pair)]
    likeness = np.array([[similarity(look, one.look, HIDDEN) for one in pair] for pair in both]).reshape(-1, 2)
    before, after = likeness.mean(0) if len(both) else (np.nan, np.nan)
    smooth, smooth_after = (likeness_of_neighbours(clip[:, where]) for clip in compared)
    boxes = [faces[0].box for faces in eyes.detector.detect(clips["before"].movedim(-1, 1)) if faces]
    size = np.mean([max(x1 - x0, y1 - y0) for x0, y0, x1, y1 in boxes]) if boxes else np.nan
    found = [np.mean([one.look is not None for one in readings]) for readings in read]
    steady, steady_after = (steadiness(clip, where, FLOW_SCALE) for clip in compared)
    return (
        *(size, *found, before, after, after - before),
        *(smooth, smooth_after, smooth_after - smooth),
        *(steady, steady_after, steady_after - steady),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--characters", type=int, choices=range(2, 1000), default=16, metavar="N", help="2 or more")
    parser.add_argument("--out", type=Path, default=Path("out/demo-evaluation"))
    arguments = parser.parse_args()
    return exit_code("demo.evaluate_faces", lambda: evaluate_faces(arguments.characters, arguments.out))


def evaluate_faces(characters: int, out: Path) -> None:
    cv2.setNumThreads(1)
    model, motion, eyes = load_demo_model(WEIGHTS), load_demo_motion(WEIGHTS), load_eyes()
    tokens = evaluate.folder_of(out)
    files = (MODEL_FILE, MOTION_FILE, DETECTOR_FILE)
    settings = (CROP, STRENGTH, FAR, NEAR, FRAMES, GAMMA, FACE_GAMMAS)
    out = tokens / f"faces-{measure.fingerprint(files, *settings)}"
    out.mkdir(parents=True, exist_ok=True)
    table = np.empty((len(FACE_GAMMAS), characters, len(FIGURES)))
    for number in range(characters):
        clips = measure.kept_pictures(
            out / f"{number:02}.safetensors", partial(clips_of, model, motion, eyes, number, out)
        )
        for place, gamma in enumerate(FACE_GAMMAS):
            table[place, number] = figures_of(eyes, number, clips, gamma)
    shown = partial(interval, generator=np.random.default_rng(0))
    lines = [f"{characters} characters, {FRAMES} frames each; mean and 95 % interval over characters"]
    for gamma, values in zip(FACE_GAMMAS, table, strict=True):
        lines += [f"Face VCD's gamma {gamma}"]
        lines += [f"  {name:20} {shown(figure)}" for name, figure in zip(FIGURES, values.T, strict=True)]
    sys.stdout.write("\n".join([*lines, f"Pictures and clips: {out}", ""]))


if __name__ == "__main__":
    sys.exit(main())
