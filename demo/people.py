"""The people whose photos ship with the demo: of combinations that the model never saw."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vcd_core.files import unfinished_file
from vcd_core.identity import Photo
from vcd_core.identity.photos import MASK_SUFFIX

from . import world
from .appearance import NOUNS, random_look
from .characters import Look
from .places import PLACES
from .shots import random_clip

PHOTOS = Path(__file__).parent / "photos"
PHOTO_SIZE = 256
PHOTO_PLACES = ("in a library", "in a flower meadow", "on a stage")
NEW_PLACES = tuple(place for place in PLACES if place not in PHOTO_PLACES)
PHOTO_FRAMINGS = ("portrait", "half", "close", "full", "portrait", "half")

CAST = {"mia": ("woman", 9), "otto": ("man", 7), "bolt": ("robot", 9), "kit": ("cat", 4)}
"""Name -> noun and seed."""


def member(name: str) -> Look:
    """How one of the cast looks."""
    noun, seed = CAST[name]
    return stranger(noun, seed)


def stranger(noun: str, seed: int) -> Look:
    """Somebody held out from training."""
    return random_look(np.random.default_rng((seed, NOUNS.index(noun))), noun, held_out=True)


def photos(
    look: Look, seed: int = 0, style: str = "soft", places: Sequence[str] = PHOTO_PLACES
) -> Iterator[world.Render]:
    """Six photos of somebody: in these places by turns, near and far, looking here and there."""
    rng = np.random.default_rng((seed, 2))
    for number, framing in enumerate(PHOTO_FRAMINGS):
        place = places[number % len(places)]
        shot = random_clip(rng, "stand", 1, place, framing, style)[0]
        yield world.render(look, shot, PHOTO_SIZE)


def whole_photos(
    look: Look, seed: int = 0, places: Sequence[str] = PHOTO_PLACES, captioned: bool = False
) -> Iterator[Photo]:
    """The photos as training takes them, with what is around the subject still there; captions name the place."""
    for number, photo in enumerate(photos(look, seed, places=places), 1):
        image, mask = (torch.from_numpy(array).float() / 255 for array in (photo.image, photo.mask))
        yield Photo(f"{number}.png", image, mask, photo.shot.place if captioned else "")


def write_photos(folder: Path, look: Look, seed: int = 0) -> None:
    """The photos and their masks as PNG."""
    for number, photo in enumerate(photos(look, seed), 1):
        for suffix, picture in ((".png", photo.image), (MASK_SUFFIX, photo.mask)):
            with unfinished_file(folder / f"{number}{suffix}") as unfinished:
                Image.fromarray(picture).save(unfinished, format="PNG")
