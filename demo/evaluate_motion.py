"""Measures how the demo model moves, beside how its world does: python -m demo.evaluate_motion [--clips 8] [--out DIR].

For each action clips are made from captions of people held out from training, at several gammas, and the world draws
clips of the same people. Each made clip is kept, so that a stopped run goes on where it was.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vcd_core.files import unfinished_file
from vcd_core.standalone.demo_model import load_demo_model, load_demo_motion
from vcd_core.standalone.pipeline import ClipOptions, make_clip
from vcd_core.vision import DrawnFaceDetector

from . import measure, world
from .people import NEW_PLACES, stranger
from .tensors import as_tensor
from .weights import WEIGHTS, load_eyes

FRAMES = 16
GAMMAS = (0.0, 0.1, 0.2, 0.5)
FRAMING = "half"
MEASURES = ("change", "travel x", "travel y", "growth", "smoothness")


def statistics(clip: Tensor, detector: DrawnFaceDetector) -> dict[str, float]:
    """How a clip (F, 3, H, W) in [0, 1] moves.

    Returns:
        change: mean absolute difference of neighbouring frames.
        travel x, travel y: how far the face's middle gets from its mean place (standard deviation), in face widths.
        growth: the same of the logarithm of the face's width.
        smoothness: mean correlation of neighbouring frames' pixels, each frame's own mean taken off.

    The middle three are not a number where no face is found in three frames of four.
    """
    flat = clip.flatten(1).double()
    centred = flat - flat.mean(1, keepdim=True)
    alike = torch.nn.functional.cosine_similarity(centred[1:], centred[:-1])
    boxes = np.array([faces[0].box for faces in detector.detect(clip) if faces])
    found = {"change": (flat[1:] - flat[:-1]).abs().mean().item(), "smoothness": alike.mean().item()}
    if len(boxes) < 0.75 * len(clip):
        return found | dict.fromkeys(("travel x", "travel y", "growth"), float("nan"))
    width = boxes[:, 2] - boxes[:, 0]
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    travel = middle.std(0) / width.mean()
    return found | {"travel x": travel[0], "travel y": travel[1], "growth": np.log(width).std()}


def world_clip(action: str, number: int) -> tuple[str, Tensor]:
    """A caption, and a clip (F, 3, H, W) in [0, 1] that the world draws for it."""
    rng = np.random.default_rng((number, world.MOTIONS.index(action)))
    look = stranger(world.NOUNS[number % len(world.NOUNS)], 500 + number)
    shots = world.random_clip(rng, action, FRAMES, NEW_PLACES[number % len(NEW_PLACES)], FRAMING)
    images = as_tensor([world.render(look, shot).image for shot in shots]) * 0.5 + 0.5
    return world.caption(look, shots[0]), images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=8, help="of each action and gamma")
    parser.add_argument("--out", type=Path, default=Path("out/demo-motion"))
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    model, motion, detector = load_demo_model(WEIGHTS), load_demo_motion(WEIGHTS), load_eyes().detector
    rows: dict[tuple[str, str], list[dict[str, float]]] = {}
    for action in world.MOTIONS:
        for number in range(arguments.clips):
            caption, drawn = world_clip(action, number)
            rows.setdefault((action, "world"), []).append(statistics(drawn, detector))
            for gamma in GAMMAS:
                file = arguments.out / f"{action}-{number:02}-{gamma}.safetensors"
                if not file.exists():
                    options = ClipOptions(FRAMES, measure.SIZE, measure.STEPS, measure.CFG, gamma=gamma, seed=number)
                    made = make_clip(model, [caption], [""], options, motion)
                    with unfinished_file(file) as unfinished:
                        save_file({"clip": (made * 255).round().byte()}, unfinished)
                clip = load_file(file)["clip"].movedim(-1, 1).float() / 255
                rows.setdefault((action, f"gamma {gamma}"), []).append(statistics(clip, detector))
    sys.stdout.write(f"{'action':8}{'clips':12}" + "".join(f"{name:>12}" for name in MEASURES) + "\n")
    for (action, which), found in rows.items():
        means = [np.nanmean([one[name] for one in found]) for name in MEASURES]
        sys.stdout.write(f"{action:8}{which:12}" + "".join(f"{mean:12.4f}" for mean in means) + "\n")


if __name__ == "__main__":
    main()
