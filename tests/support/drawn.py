"""Drawings of the demo world to test with: somebody, somewhere, from a seed."""

from dataclasses import replace

import numpy as np
import pytest

from demo import world
from demo.appearance import COLOUR_JITTER, COLOURS, NOUNS, SKIN_OF, random_look
from demo.characters import Look
from demo.drawing import Pen
from demo.places import PLACES
from demo.shots import MOTIONS, Shot, random_clip

SIZE = world.SIZE

every_motion = pytest.mark.parametrize("motion", MOTIONS)
every_noun = pytest.mark.parametrize("noun", NOUNS)
every_style = pytest.mark.parametrize("style", world.STYLES)


def seeded(seed: int) -> np.random.Generator:
    return np.random.default_rng((77, seed))


def somebody(seed: int, noun: str | None = None, **changes) -> Look:
    return replace(random_look(seeded(seed), noun), **changes)


SOMEBODY = somebody(0)


def still(seed: int, framing: str | None = None, style: str = "soft", **changes) -> Shot:
    shot = random_clip(seeded(seed), "stand", 1, framing=framing, style=style)[0]
    return replace(shot, **changes)


def place_alone(shot: Shot, size: int = SIZE) -> np.ndarray:
    pen = Pen(size, shot.style)
    PLACES[shot.place](pen, shot.view, np.random.default_rng(shot.seed))
    return pen.picture()


def names_of(attribute: str, look: Look) -> list[str]:
    """Every named colour that this one can have been drawn from."""
    palette = SKIN_OF[look.noun] if attribute == "skin" else COLOURS[attribute]
    distance = {name: np.abs(np.subtract(getattr(look, attribute), rgb)).max() for name, rgb in palette.items()}
    return [name for name in palette if distance[name] <= COLOUR_JITTER]
