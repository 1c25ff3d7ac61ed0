"""Measures what Tiled VCD does to the demo's clips: python -m demo.evaluate_tiles [--characters 16] [--out FOLDER].

Each character's token (the one of `demo.evaluate`, where that has run) is drawn as a clip of 128 pixels, which is
enlarged to 256: by Lanczos alone, drawn anew in one piece, in tiles that are blended at every step, and in tiles drawn
one after another. Seams are what differs across the lines where tiles begin and end, over what differs across all other
lines. Clips are kept, so that a stopped run goes on where it was.
"""

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch.nn.functional as F
from torch import Tensor

from vcd_core import metrics
from vcd_core.motion import MotionModule
from vcd_core.standalone.cli import exit_code
from vcd_core.standalone.demo_model import MODEL_FILE, MOTION_FILE, load_demo_model, load_demo_motion
from vcd_core.standalone.model import StableDiffusion
from vcd_core.standalone.pipeline import VAE_FACTOR, ClipOptions, make_clip
from vcd_core.standalone.tiles import enlarged_by

from . import evaluate, measure
from .compare import interval
from .people import NEW_PLACES
from .report import frames_of, write_contact_sheet
from .tiles import OPTIONS, PART, STEPS, enlarge
from .weights import WEIGHTS, load_eyes

FRAMES, GAMMA = 16, 0.1
WHOLE, BLENDED, SEQUENTIAL = "in one piece", "blended at every step", "one after another"
WAYS = ("Lanczos", WHOLE, BLENDED, SEQUENTIAL)


def clips_of(model: StableDiffusion, motion: MotionModule, number: int, tokens: Path, out: Path) -> dict[str, Tensor]:
    """A character's clip (F, 128, 128, 3) in [0, 1], and enlarged in every one of WAYS."""
    look, place = evaluate.character(number), NEW_PLACES[number % len(NEW_PLACES)]
    subject = measure.by_token(look, evaluate.vectors_of(model, number, tokens))
    options = ClipOptions(FRAMES, measure.SIZE, measure.STEPS, measure.CFG, gamma=GAMMA, seed=number)
    clip = make_clip(model, ["a photo of ", *subject, f" {place}"], [""], options, motion)
    refine = partial(enlarge, model, motion, clip, [f"{PART} ", *subject, f" {place}"], number, GAMMA)
    large = (
        enlarged_by(clip, OPTIONS.upscale_by),
        refine(options=replace(OPTIONS, tile=0, overlap=0)),
        refine(),
        refine(options=replace(OPTIONS, together=False)),
    )
    made = dict(zip(WAYS, large, strict=True))
    rows = [(f"character {number}: {way}", frames_of(one)) for way, one in made.items()]
    write_contact_sheet(out / f"{number:02}.png", rows, columns=4)
    return {"clip": clip, **made}


def seams(clip: Tensor) -> float:
    """Of the tiles of an enlarged clip (F, H, W, 3), by `vcd_core.metrics`."""
    plan = OPTIONS.plan((len(clip), *(side // VAE_FACTOR for side in clip.shape[1:3])))
    return metrics.seams(clip, *([VAE_FACTOR * border for border in borders] for borders in plan.borders()))


def figures_of(eyes: measure.Eyes, number: int, clips: dict[str, Tensor]) -> dict[str, float]:
    """Of one character.

    Seams are also told beside those of the clip drawn in one piece, which has none: what is in the middle of a picture
    has edges there. Identity and smoothness are those of pictures of the small clip's size.
    """
    look = evaluate.character(number)
    small = {
        name: F.interpolate(clip.movedim(-1, 1), (measure.SIZE, measure.SIZE), mode="area")
        for name, clip in clips.items()
    }
    found = {f"seams, {way}": seams(clips[way]) for way in WAYS}
    for way in (BLENDED, SEQUENTIAL):
        found[f"seams over one piece's, {way}"] = found[f"seams, {way}"] / found[f"seams, {WHOLE}"]
    found |= {f"smoothness, {name}": metrics.likeness_of_neighbours(pictures) for name, pictures in small.items()}
    found |= {
        f"similarity, {name}": float(measure.identity_scores(look, eyes.read(pictures)).mean())
        for name, pictures in small.items()
    }
    for what in ("smoothness", "similarity"):
        found[f"{what} gained, {BLENDED}"] = found[f"{what}, {BLENDED}"] - found[f"{what}, clip"]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--characters", type=int, choices=range(2, 1000), default=16, metavar="N", help="2 or more")
    parser.add_argument("--out", type=Path, default=Path("out/demo-evaluation"))
    arguments = parser.parse_args()
    return exit_code("demo.evaluate_tiles", lambda: evaluate_tiles(arguments.characters, arguments.out))


def evaluate_tiles(characters: int, out: Path) -> None:
    cv2.setNumThreads(1)
    model, motion, eyes = load_demo_model(WEIGHTS), load_demo_motion(WEIGHTS), load_eyes()
    tokens = evaluate.folder_of(out)
    out = tokens / f"tiles-{measure.fingerprint((MODEL_FILE, MOTION_FILE), OPTIONS, STEPS, PART, FRAMES, GAMMA)}"
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(characters):
        clips = measure.kept_pictures(
            out / f"{number:02}.safetensors", partial(clips_of, model, motion, number, tokens, out)
        )
        rows.append(figures_of(eyes, number, clips))
    shown = partial(interval, generator=np.random.default_rng(0))
    lines = [f"{characters} characters, {FRAMES} frames each; mean and 95 % interval over characters"]
    lines += [f"{name:46} {shown(np.array([row[name] for row in rows]))}" for name in rows[0]]
    sys.stdout.write("\n".join([*lines, f"Pictures and clips: {out}", ""]))


if __name__ == "__main__":
    sys.exit(main())
