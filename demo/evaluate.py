"""Measures the demo model on people it never saw: python -m demo.evaluate [--characters 16] [--out FOLDER].

For each character a token is learned from six photos; then ten prompts are drawn with the subject called by its noun,
by the token, and by a caption of every attribute, from the same noise. Each character's readings are kept in a file,
so that a stopped run goes on where it was.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from vcd_core.files import unfinished_file
from vcd_core.identity import load_photos
from vcd_core.standalone.demo_model import load_demo_model
from vcd_core.standalone.model import StableDiffusion

from . import measure, world
from .characters import Look
from .people import stranger, write_photos
from .reader import Reading, similarity
from .report import write_contact_sheet
from .run import learn
from .weights import WEIGHTS, load_eyes

FIRST_SEED = 100
RESAMPLINGS = 10000
WAYS = ("noun", "token", "caption")


def character(number: int) -> Look:
    """The nouns take turns."""
    return stranger(world.NOUNS[number % len(world.NOUNS)], FIRST_SEED + number)


def observe(model: StableDiffusion, eyes: measure.Eyes, number: int, out: Path) -> dict[str, list[dict]]:
    """What the reader says of the pictures of one character, by way of calling them."""
    look = character(number)
    with tempfile.TemporaryDirectory() as folder:
        write_photos(Path(folder), look, number)
        token, _ = learn(model, load_photos(Path(folder)), f"character{number}", look.noun, seed=number)
    subjects = {
        "noun": measure.by_noun(look),
        "token": measure.by_token(look, token.vectors),
        "caption": measure.by_caption(look),
    }
    pictures = {
        way: measure.draw_prompts(model, measure.subject_prompts(subject), seed=number)
        for way, subject in subjects.items()
    }
    rows = [(f"character {number}: {way}", drawn) for way, drawn in pictures.items()]
    write_contact_sheet(out / f"{number:02}.png", rows, columns=10)
    return {way: [asdict(reading) for reading in eyes.read(drawn)] for way, drawn in pictures.items()}


def summary(observed: dict[int, dict[str, list[dict]]], generator: np.random.Generator) -> dict[str, float]:
    """The figures over all characters; intervals of 95 % by drawing characters again (percentile bootstrap)."""
    looks = {number: character(number) for number in observed}
    readings = {
        number: {way: [reading_of(one) for one in ones] for way, ones in ways.items()}
        for number, ways in observed.items()
    }
    means = np.array(
        [
            [np.mean([similarity(looks[number], one) for one in ways[way]]) for way in WAYS]
            for number, ways in readings.items()
        ]
    )  # (characters, ways)
    first = []
    for number, ways in readings.items():
        for one in ways["token"]:
            scores = {other: similarity(look, one) for other, look in looks.items()}
            first.append(max(scores, key=scores.get) == number)
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
    again = means[generator.integers(len(means), size=(RESAMPLINGS, len(means)))].mean(1)
    low, high = np.percentile(share(again), (2.5, 97.5))
    return {
        **{f"similarity by {way}": value for way, value in zip(WAYS, means.mean(0), strict=True)},
        "share of the way from noun to caption": float(share(means.mean(0)[None])[0]),
        "share, low": low,
        "share, high": high,
        "ranked first": np.mean(first),
        **{f"place right by {way}": value for way, value in places.items()},
    }


def share(means: np.ndarray) -> np.ndarray:
    """(token - noun) / (caption - noun) of (N, 3) means."""
    noun, token, caption = means.T
    return (token - noun) / (caption - noun)


def reading_of(kept: dict) -> Reading:
    look = kept["look"]
    if look is not None:
        look = Look(**{name: tuple(value) if isinstance(value, list) else value for name, value in look.items()})
    return Reading(look, kept["shirt"], kept["place"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--characters", type=int, default=16)
    parser.add_argument("--out", type=Path, default=Path("out/demo-evaluation"))
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    model, eyes = load_demo_model(WEIGHTS), load_eyes()
    observed = {}
    for number in range(arguments.characters):
        file = arguments.out / f"{number:02}.json"
        if not file.exists():
            seen = observe(model, eyes, number, arguments.out)
            with unfinished_file(file) as unfinished:
                unfinished.write_text(json.dumps(seen))
        observed[number] = json.loads(file.read_text())
    for name, value in summary(observed, np.random.default_rng(0)).items():
        sys.stdout.write(f"{name:40} {value:.3f}\n")


if __name__ == "__main__":
    main()
