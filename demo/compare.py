"""Compares ways to learn a token, on people the demo model never saw: python -m demo.compare [--characters 16].

Every way has the same budget: photos, steps, batch, learning rate. For each character and way a token is learned and
ten pictures are drawn from the same noise in places that no photo shows; the attribute reader then says how much like
the character they are, whether the place is the one asked for, and whether it is one of the photos' (a leak). Pictures
are kept, so that a stopped run goes on where it was; other weights or settings begin anew.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from vcd_core.identity import Augmentation, Photo
from vcd_core.identity.recipe import VERSION as TRAINING
from vcd_core.metrics import interval_95, resampled_means
from vcd_core.standalone.cli import exit_code
from vcd_core.standalone.demo_model import MODEL_FILE, load_demo_model
from vcd_core.standalone.model import Prompt, StableDiffusion
from vcd_core.standalone.pipeline import plan, train_token

from . import measure, run
from .evaluate import character
from .people import PHOTO_PLACES, whole_photos
from .reader import Reading, similarity
from .report import write_contact_sheet
from .weights import WEIGHTS, load_eyes

FIGURES = ("similarity", "place right", "photos' place")


@dataclass(frozen=True)
class Way:
    """A way to learn a token.

    Attributes:
        tokens: vectors that stand for the subject.
        masked: the loss counts inside the subject's mask only.
        places: where the photos were taken, by turns.
        augmentation: of the photos; None for as they are and mirrored.
        levels: ranges of the noise level, each with vectors of its own.
        context: the token learns to leave the surroundings to the prompt.
        margin: by how much masks grow, in parts of a photo's side.
        decay: over which last part of the steps the learning rate falls.
        plain: vectors may become as long as they like, and noise is white.
    """

    tokens: int = run.TOKENS
    masked: bool = True
    places: tuple[str, ...] = PHOTO_PLACES
    augmentation: Augmentation | None = None
    levels: int = 1
    context: bool = True
    margin: float = run.MASK_MARGIN
    decay: float = run.DECAY
    plain: bool = False


PUBLISHED = {"context": False, "margin": 0.0, "decay": 0.0}
WORDLESS = Augmentation(far_words=(), near_words=())  # the demo model knows none of these words
WAYS = {
    "ours": Way(),
    "textual inversion: one vector, no masks": Way(tokens=1, masked=False, **PUBLISHED),
    "textual inversion as published": Way(tokens=1, masked=False, plain=True, **PUBLISHED),
    "textual inversion, its rate falling": Way(tokens=1, masked=False, **PUBLISHED | {"decay": run.DECAY}),
    "masks without a margin": Way(margin=0.0),
    "a rate that stays": Way(decay=0.0),
    "the paper's loss alone": Way(**PUBLISHED),
    "no masks": Way(masked=False, **PUBLISHED),
    "one vector": Way(tokens=1),
    "augmented": Way(augmentation=WORDLESS),
    "three ranges of noise": Way(levels=3),
    "photos of one place": Way(places=PHOTO_PLACES[:1]),
    "photos of one place, textual inversion": Way(places=PHOTO_PLACES[:1], tokens=1, masked=False, **PUBLISHED),
    "photos of one place, textual inversion as published": Way(
        places=PHOTO_PLACES[:1], tokens=1, masked=False, plain=True, **PUBLISHED
    ),
    "photos of one place, the paper's loss alone": Way(places=PHOTO_PLACES[:1], **PUBLISHED),
    "photos of one place, no masks": Way(places=PHOTO_PLACES[:1], masked=False, **PUBLISHED),
}
PAIRS = (
    ("ours", "textual inversion: one vector, no masks"),
    ("ours", "textual inversion as published"),
    ("ours", "textual inversion, its rate falling"),
    ("ours", "masks without a margin"),
    ("ours", "a rate that stays"),
    ("ours", "the paper's loss alone"),
    ("the paper's loss alone", "no masks"),
    ("ours", "one vector"),
    ("augmented", "ours"),
    ("three ranges of noise", "ours"),
    ("photos of one place", "photos of one place, textual inversion"),
    ("photos of one place", "photos of one place, textual inversion as published"),
    ("photos of one place, no masks", "photos of one place"),
    ("photos of one place, no masks", "photos of one place, the paper's loss alone"),
)


@dataclass(frozen=True)
class LevelledModel(StableDiffusion):
    """A model whose tokens differ by the noise level, after NeTI (arXiv:2305.15391), without its network.

    `learned` is (levels * n, D): the vectors of the lowest range of timesteps first. What it calls an encoded prompt
    is one for each range, joined along L.
    """

    levels: int = 1

    def encode_pieces(self, prompt: Prompt) -> Tensor:
        encoded = []
        for level in range(self.levels):
            pieces = [piece if isinstance(piece, str) else piece.chunk(self.levels)[level] for piece in prompt]
            encoded.append(super().encode_pieces(pieces))
        return torch.cat(encoded)

    def predict_noise(self, noised: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        level = timesteps * self.levels // len(self.schedule.sigmas)
        ranges = context.unflatten(1, (self.levels, -1))
        return super().predict_noise(noised, timesteps, ranges[torch.arange(len(ranges)), level])


def draw(model: StableDiffusion, way: Way, name: str, number: int, out: Path) -> dict[str, Tensor]:
    """The pictures of one character, learned in one way."""
    look = character(number)
    photos = [photo if way.masked else replace(photo, mask=None) for photo in whole_photos(look, number, way.places)]
    if way.levels > 1:
        model = LevelledModel(**vars(model), levels=way.levels)
    vectors = learn(model, photos, way, look.noun, number)
    drawn = measure.draw_prompts(model, measure.subject_prompts(measure.by_token(look, vectors)), number)
    write_contact_sheet(out / f"{number:02} {name.replace(':', '')}.png", [(name, drawn)], columns=10)
    return {"pictures": drawn}


def learn(model: StableDiffusion, photos: Sequence[Photo], way: Way, noun: str, seed: int) -> Tensor:
    """(levels * n, D)"""
    recipe = run.recipe_of(noun, seed)
    options = replace(recipe.options, decay=way.decay)
    if way.plain:
        options = replace(options, hold_norm=False, weight_decay=0.0, noise_offset=0.0)
    if not way.context:
        options = replace(options, context_weight=0.0)
    count = way.tokens * way.levels
    recipe = replace(recipe, token_count=count, augmentation=way.augmentation, options=options, mask_margin=way.margin)
    return train_token(model, plan(model, photos, recipe)).vectors


def figures_of(number: int, way: Way, readings: Sequence[Reading]) -> tuple[float, ...]:
    """FIGURES of one character: means over its pictures."""
    look = character(number)
    right = [one.place in prompt for one, prompt in zip(readings, measure.PROMPTS, strict=True)]
    leaked = [one.place in way.places for one in readings]
    return tuple(float(np.mean(values)) for values in ([similarity(look, one) for one in readings], right, leaked))


def interval(values: np.ndarray, generator: np.random.Generator) -> str:
    """The mean of (characters,) and its 95 % interval by drawing characters again.

    What is not a number is left out, and how many are left is told.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return "none"
    low, high = interval_95(resampled_means(finite, generator))
    of = "" if len(finite) == len(values) else f" of {len(finite)}"
    return f"{finite.mean():+.3f} [{low:+.3f}, {high:+.3f}]{of}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--characters", type=int, choices=range(2, 1000), default=16, metavar="N", help="2 or more")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS), metavar="WAY", help="some only")
    parser.add_argument("--out", type=Path, default=Path("out/demo-comparison"))
    arguments = parser.parse_args()
    return exit_code("demo.compare", lambda: compare(arguments.characters, arguments.ways, arguments.out))


def compare(characters: int, names: Sequence[str], out: Path) -> None:
    cv2.setNumThreads(1)
    model, eyes = load_demo_model(WEIGHTS), load_eyes()
    out = out / measure.fingerprint([MODEL_FILE], TRAINING, run.training_options(0), WAYS)
    table = {name: np.empty((characters, len(FIGURES))) for name in names}
    for number in range(characters):
        for name in names:
            kept = measure.kept_pictures(
                out / f"{number:02} {name.replace(':', '')}.safetensors",
                partial(draw, model, WAYS[name], name, number, out),
            )
            table[name][number] = figures_of(number, WAYS[name], eyes.read(kept["pictures"]))
    shown = partial(interval, generator=np.random.default_rng(0))
    lines = [f"{characters} characters, {len(measure.PROMPTS)} pictures each; mean and 95 % interval over characters"]
    wide = max(map(len, names))
    lines += [" " * wide + "".join(f"{figure:>26}" for figure in FIGURES)]
    lines += [f"{name:{wide}}" + "".join(f"{shown(one):>26}" for one in values.T) for name, values in table.items()]
    for one, other in PAIRS:
        if one in table and other in table:
            lines += [
                f"{one} - {other}:",
                " " * wide + "".join(f"{shown(d):>26}" for d in (table[one] - table[other]).T),
            ]
    sys.stdout.write("\n".join([*lines, f"Pictures: {out}", ""]))


if __name__ == "__main__":
    sys.exit(main())
