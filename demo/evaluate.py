"""Measures the demo model on people it never saw: python -m demo.evaluate [--characters 16] [--style ink] [--out DIR].

For each character a token is learned from six photos; then ten prompts are drawn with the subject called by its noun,
by the token, and by a caption of every attribute, from the same noise. Each character's token and pictures are kept in
files, so that a stopped run goes on where it was; other weights or settings begin anew. The reader itself is measured
too, on what the autoencoder makes of drawings of strangers, by the faces that the detector finds. In the second style
the same tokens are used: they are learned by the model without it.
"""

import argparse
import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from vcd_core.files import unfinished_file
from vcd_core.identity import load_id_token, save_id_token
from vcd_core.identity.recipe import VERSION as TRAINING
from vcd_core.metrics import interval_95, resampled_means
from vcd_core.standalone.cli import exit_code
from vcd_core.standalone.demo_model import MODEL_FILE, STYLE_FILE, load_demo_model
from vcd_core.standalone.model import StableDiffusion
from vcd_core.standalone.weights_folder import manifest_fingerprint

from . import measure, run, world
from .appearance import COLOURS, KINDS, NOUNS, SKIN_OF, colour_name, same
from .characters import Look
from .people import stranger, whole_photos
from .reader import Reading, similarity
from .report import write_contact_sheet
from .stages.reader import WAYS_TO_SEE, legible, strangers
from .tensors import as_pictures, as_tensor
from .weights import WEIGHTS, load_eyes

FIRST_SEED = 100
READABLE = 0.95  # of every attribute the reader has to get right, or what it says of likeness does not count
CLEAR, SPOT, LARGE = 24, 10, 100  # levels of 255, and pixels that differ by more
WAYS = ("noun", "token", "caption")


def character(number: int) -> Look:
    """The nouns take turns."""
    return stranger(NOUNS[number % len(NOUNS)], FIRST_SEED + number)


def vectors_of(model: StableDiffusion, number: int, out: Path) -> Tensor:
    """(n, D) a character's token, learned once."""
    name, look = f"character{number}", character(number)
    file = out / f"{name}.safetensors"
    if not file.exists():
        token, _ = run.token_of(model, list(whole_photos(look, number)), name, look.noun, seed=number)
        save_id_token(token, out)
    return load_id_token(file).vectors


def folder_of(out: Path) -> Path:
    """Where tokens and readings are kept that belong to these weights and settings."""
    return out / measure.fingerprint([MODEL_FILE], TRAINING, run.training_options(0), run.TOKENS, run.MASK_MARGIN)


def draw(model: StableDiffusion, number: int, vectors: Tensor, out: Path) -> dict[str, Tensor]:
    """The pictures of one character, by way of calling them; vectors (n, D) are the token's."""
    look = character(number)
    subjects = {
        "noun": measure.by_noun(look),
        "token": measure.by_token(look, vectors),
        "caption": measure.by_caption(look),
    }
    pictures = {
        way: measure.draw_prompts(model, measure.subject_prompts(subject), seed=number)
        for way, subject in subjects.items()
    }
    rows = [(f"character {number}: {way}", drawn) for way, drawn in pictures.items()]
    write_contact_sheet(out / f"{number:02}.png", rows, columns=10)
    return pictures


def summary(readings: dict[int, dict[str, list[Reading]]], generator: np.random.Generator) -> dict[str, float]:
    """The figures over all characters; intervals of 95 % by drawing characters again."""
    looks = {number: character(number) for number in readings}
    means = np.array(
        [
            [np.mean([similarity(looks[number], one) for one in ways[way]]) for way in WAYS]
            for number, ways in readings.items()
        ]
    )  # (characters, ways)
    first = {
        way: np.mean([is_first(number, one, looks) for number, ways in readings.items() for one in ways[way]])
        for way in WAYS
    }
    places = {
        way: np.mean(
            [
                one.place in prompt
                for ways in readings.values()
                for one, prompt in zip(ways[way], measure.PROMPTS, strict=True)
            ]
        )
        for way in WAYS
    }
    low, high = interval_95(share(resampled_means(means, generator)))
    return {
        **{f"similarity by {way}": value for way, value in zip(WAYS, means.mean(0), strict=True)},
        "share of the way from noun to caption": float(share(means.mean(0)[None])[0]),
        "share, low": low,
        "share, high": high,
        **{f"ranked first by {way}": value for way, value in first.items()},
        **{f"place right by {way}": value for way, value in places.items()},
    }


def is_first(number: int, reading: Reading, looks: dict[int, Look]) -> bool:
    """Whether a picture is more like this character than like any other; a tie is lost."""
    scores = {other: similarity(look, reading) for other, look in looks.items()}
    own = scores.pop(number)
    return all(own > score for score in scores.values())


def share(means: np.ndarray) -> np.ndarray:
    """(token - noun) / (caption - noun) of (N, 3) means: 0 at the noun, 1 at the caption, and not bounded by them."""
    noun, token, caption = means.T
    return (token - noun) / (caption - noun)


@torch.no_grad()
def accuracy(model: StableDiffusion, eyes: measure.Eyes, pictures: int = 300, style: str = "soft") -> dict[str, float]:
    """The share of each attribute that the reader gets right, of whole figures and of heads; colours by their names.

    Only what the picture shows is asked for, and only of pictures in which a face was found.
    """
    figures = {}
    for way in WAYS_TO_SEE:
        renders = strangers(way, 23, pictures, style)
        drawn = as_tensor([one.image for one in renders])
        made = torch.cat([model.decode(model.encode(few)) for few in drawn.split(4)]) * 0.5 + 0.5
        right: dict[str, list[bool]] = {}
        for one, reading in zip(renders, eyes.read(made.clamp(0, 1)), strict=True):
            right.setdefault("face found", []).append(reading.look is not None)
            right.setdefault("place", []).append(reading.place == one.shot.place)
            if reading.look is None:
                continue
            for name in filter(partial(is_visible, model, one), legible(one)):
                right.setdefault(name, []).append(same(name, one.look, reading.look))
        figures |= {f"{way}, {name}": float(np.mean(values)) for name, values in right.items()}
    return figures


def is_visible(model: StableDiffusion, render: world.Render, name: str) -> bool:
    """Whether any other value of the attribute would change the picture clearly, as the autoencoder leaves it.

    Antennas may be out of sight, and brows behind a hat or glasses. Large changes are not sent through it.
    """
    if name == "noun":
        return True
    palette = SKIN_OF[render.look.noun] if name == "skin" else COLOURS.get(name, {})
    values = [rgb for called, rgb in palette.items() if called != colour_name(name, render.look)]
    values = values or [kind for kind in KINDS[name] if kind != getattr(render.look, name)]
    others = (world.render(replace(render.look, **{name: value}), render.shot).image for value in values)
    return all(_differ_clearly(model, render.image, other) for other in others)


def _differ_clearly(model: StableDiffusion, one: np.ndarray, other: np.ndarray) -> bool:
    def changed(first: np.ndarray, second: np.ndarray) -> int:
        return (np.abs(first.astype(int) - second).max(-1) > CLEAR).sum()

    drawn = changed(one, other)
    if not SPOT <= drawn < LARGE:
        return drawn >= LARGE
    pair = model.decode(model.encode(as_tensor([one, other])))
    return changed(*as_pictures(pair)) >= SPOT


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--characters", type=int, choices=range(2, 1000), default=16, metavar="N", help="2 or more")
    parser.add_argument("--style", choices=("soft", "ink"), default="soft", help="in which the pictures are drawn")
    parser.add_argument("--out", type=Path, default=Path("out/demo-evaluation"))
    arguments = parser.parse_args()
    return exit_code("demo.evaluate", lambda: evaluate(arguments.characters, arguments.style, arguments.out))


def evaluate(characters: int, style: str, out: Path) -> None:
    cv2.setNumThreads(1)
    teacher, eyes = load_demo_model(WEIGHTS), load_eyes()
    model = load_demo_model(WEIGHTS, style=True) if style == "ink" else teacher
    tokens = folder_of(out)
    out = tokens / f"{style}-{measure.fingerprint([STYLE_FILE] if style == 'ink' else [])}"
    out.mkdir(parents=True, exist_ok=True)

    readings = {}
    for number in range(characters):
        vectors = vectors_of(teacher, number, tokens)
        pictures = measure.kept_pictures(out / f"{number:02}.safetensors", partial(draw, model, number, vectors, out))
        readings[number] = {way: eyes.read(drawn) for way, drawn in pictures.items()}
    file = out / f"reader-{manifest_fingerprint(WEIGHTS)[:12]}.json"
    if not file.exists():
        with unfinished_file(file) as unfinished:
            unfinished.write_text(json.dumps(accuracy(model, eyes, style=style)))
    read = json.loads(file.read_text())
    figures = summary(readings, np.random.default_rng(0))
    lines = [f"reader right, {name:28} {value:.3f}" for name, value in sorted(read.items())]
    low = [name for name, value in read.items() if value < READABLE]
    held = "so the figures below are indications" if low else "so the figures below count"
    lines += [f"the reader is below {READABLE:.0%} in {', '.join(low) or 'nothing'}, {held}"]
    lines += [f"{name:42} {value:.3f}" for name, value in figures.items()]
    sys.stdout.write("\n".join([*lines, f"Pictures: {out}", ""]))


if __name__ == "__main__":
    sys.exit(main())
