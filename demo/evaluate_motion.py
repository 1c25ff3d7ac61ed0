"""Measures how the demo model moves, beside how its world does: python -m demo.evaluate_motion [--clips 8] [--out DIR].

For each action clips are made from captions of people held out from training, at several gammas, and the world draws
clips of the same people. Each made clip is kept, so that a stopped run goes on where it was.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from vcd_core.metrics import likeness_of_neighbours
from vcd_core.standalone.cli import exit_code
from vcd_core.standalone.demo_model import MODEL_FILE, MOTION_FILE, load_demo_model, load_demo_motion
from vcd_core.standalone.model import StableDiffusion
from vcd_core.standalone.pipeline import ClipOptions, make_clip
from vcd_core.vision import DrawnFaceDetector

from . import captions, measure, world
from .appearance import NOUNS
from .people import NEW_PLACES, stranger
from .shots import MOTIONS, random_clip
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
    boxes = np.array([faces[0].box for faces in detector.detect(clip) if faces])
    found = {"change": (flat[1:] - flat[:-1]).abs().mean().item(), "smoothness": likeness_of_neighbours(clip)}
    if len(boxes) < 0.75 * len(clip):
        return found | dict.fromkeys(("travel x", "travel y", "growth"), float("nan"))
    width = boxes[:, 2] - boxes[:, 0]
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    travel = middle.std(0) / width.mean()
    return found | {"travel x": travel[0], "travel y": travel[1], "growth": np.log(width).std()}


def world_clip(action: str, number: int) -> tuple[str, Tensor]:
    """A caption, and a clip (F, 3, H, W) in [0, 1] that the world draws for it."""
    rng = np.random.default_rng((number, MOTIONS.index(action)))
    look = stranger(NOUNS[number % len(NOUNS)], 500 + number)
    shots = random_clip(rng, action, FRAMES, NEW_PLACES[number % len(NEW_PLACES)], FRAMING)
    images = as_tensor([world.render(look, shot).image for shot in shots]) * 0.5 + 0.5
    return captions.caption(look, shots[0]), images


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--clips", type=int, choices=range(2, 1000), default=8, metavar="N", help="of each action, 2 or more"
    )
    parser.add_argument("--out", type=Path, default=Path("out/demo-motion"))
    arguments = parser.parse_args()
    return exit_code("demo.evaluate_motion", lambda: evaluate(arguments.clips, arguments.out))


def evaluate(clips: int, out: Path) -> None:
    cv2.setNumThreads(1)
    model, motion, detector = load_demo_model(WEIGHTS), load_demo_motion(WEIGHTS), load_eyes().detector
    out = out / measure.fingerprint((MODEL_FILE, MOTION_FILE), FRAMES, FRAMING)
    sources = ("world", *(f"gamma {gamma}" for gamma in GAMMAS))
    table = np.empty((len(MOTIONS), len(sources), clips, len(MEASURES)))
    for action_number, action in enumerate(MOTIONS):
        for number in range(clips):
            caption, drawn = world_clip(action, number)
            found = [through_autoencoder(model, drawn)]
            seed = number * len(MOTIONS) + action_number  # one of its own: clips that start alike move alike
            for gamma in GAMMAS:
                options = ClipOptions(FRAMES, measure.SIZE, measure.STEPS, measure.CFG, gamma=gamma, seed=seed)
                made = measure.kept_pictures(
                    out / f"{action}-{number:02}-{gamma}-{seed}.safetensors",
                    lambda caption=caption, options=options: {
                        "clip": make_clip(model, [caption], [""], options, motion)
                    },
                )
                found.append(made["clip"].movedim(-1, 1))
            for source_number, clip in enumerate(found):
                seen = statistics(clip, detector)
                table[action_number, source_number, number] = [seen[name] for name in MEASURES]
    sys.stdout.write(
        "Mean and standard error; clips in which the face was found. Difference: from gamma 0, same seeds.\n"
    )
    for action_number, action in enumerate(MOTIONS):
        sys.stdout.write("\n".join([f"{action}", *rows(sources, table[action_number]), ""]))
    sys.stdout.write(
        "\n".join(["all actions", *rows(sources, table.swapaxes(0, 1).reshape(len(sources), -1, len(MEASURES)))])
    )
    sys.stdout.write(f"\nClips: {out}\n")


@torch.no_grad()
def through_autoencoder(model: StableDiffusion, clip: Tensor) -> Tensor:
    """What is left of a clip (F, 3, H, W) in [0, 1] that had been made: drawings are sharper than any model's clips."""
    frames = [model.decode(model.encode(frame[None] * 2 - 1)) * 0.5 + 0.5 for frame in clip]
    return torch.cat(frames).clamp(0, 1)


def rows(sources: Sequence[str], table: np.ndarray) -> list[str]:
    """A line for each source of (sources, clips, measures); where no face was found a measure is not a number."""
    lines = [f"  {'':12}{'clips':>7}" + "".join(f"{name:>24}" for name in MEASURES)]
    for source, values in zip(sources, table, strict=True):
        found = int((~np.isnan(values)).all(1).sum())
        lines.append(
            f"  {source:12}{found:3}/{len(values):<3}" + "".join(f"{mean_and_error(one):>24}" for one in values.T)
        )
    for source, values in zip(sources[2:], table[2:], strict=True):
        lines.append(
            f"  {source:>12} - 0     " + "".join(f"{mean_and_error(one):>24}" for one in (values - table[1]).T)
        )
    return lines


def mean_and_error(values: np.ndarray) -> str:
    values = values[~np.isnan(values)]
    if len(values) < 2:
        return "-"
    return f"{values.mean():.4f} ± {values.std(ddof=1) / len(values) ** 0.5:.4f}"


if __name__ == "__main__":
    sys.exit(main())
