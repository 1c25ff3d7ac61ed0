"""How pictures of the demo world are taken: framings, movements, and the shots of a random clip."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from .characters import FEET, Pose
from .places import PLACES, View

FRAMINGS = {  # opening words, unit per picture size, where the head is (x about the middle, y)
    "far": ("a far away photo of", (0.09, 0.12), 0.3, None),
    "full": ("a full body photo of", (0.16, 0.183), 0.2, None),
    "half": ("a half body photo of", (0.25, 0.3), 0.14, (0.38, 0.45)),
    "portrait": ("a portrait of", (0.32, 0.38), 0.1, (0.45, 0.53)),
    "close": ("a close up photo of", (0.41, 0.48), 0.06, (0.5, 0.56)),
}
FRAMING_ODDS = {"far": 0.08, "full": 0.3, "half": 0.24, "portrait": 0.22, "close": 0.16}
DETAIL = "a zoomed in photo of"
ACTIONS = {
    "stand": "",
    "walk": "walking",
    "turn": "turning the head",
    "nod": "nodding",
    "wave": "waving",
    "zoom": "as the camera zooms",
    "drift": "as the camera drifts",
}
MOTIONS = tuple(name for name in ACTIONS if name != "stand")


@dataclass(frozen=True)
class Shot:
    """One picture: lengths in parts of the picture's size.

    Attributes:
        place: a key of PLACES.
        framing: a key of FRAMINGS.
        action: a key of ACTIONS.
        x, y: the middle of the head.
        unit: the head's scale, about half its height.
        roll: radians, clockwise.
        seed: of the place's trees, stars and books.
    """

    place: str
    framing: str
    action: str
    x: float
    y: float
    unit: float
    roll: float = 0.0
    pose: Pose = field(default_factory=Pose)
    view: View = field(default_factory=View)
    seed: int = 0
    style: str = "soft"


def random_shot(
    rng: np.random.Generator, place: str | None = None, framing: str | None = None, style: str = "soft"
) -> Shot:
    """A moment out of a random clip, so that pictures show all that clips do."""
    action = str(rng.choice(list(ACTIONS), p=(0.34, *[0.11] * 6)))
    movement = _random_movement(rng, action, place, framing, style)
    return movement(np.linspace(-1, 1, 16)[rng.integers(16)])


def random_clip(
    rng: np.random.Generator,
    action: str | None = None,
    frames: int = 16,
    place: str | None = None,
    framing: str | None = None,
    style: str = "soft",
) -> list[Shot]:
    """The shots of one clip: one movement at a random speed, extent and phase."""
    movement = _random_movement(rng, action or str(rng.choice(MOTIONS)), place, framing, style)
    return [movement(time) for time in np.linspace(-1, 1, frames)]


def _random_movement(
    rng: np.random.Generator, action: str, place: str | None, framing: str | None, style: str
) -> Callable[[float], Shot]:
    """A clip at any time from -1 to 1."""
    place = place or str(rng.choice(list(PLACES)))
    framing = framing or str(rng.choice(list(FRAMING_ODDS), p=list(FRAMING_ODDS.values())))
    _, (low, high), spread, head_y = FRAMINGS[framing]
    unit = rng.uniform(low, high)
    y = rng.uniform(0.9, 0.97) - FEET * unit if head_y is None else rng.uniform(*head_y)
    still = Shot(
        place,
        framing,
        action,
        x=0.5 + rng.uniform(-spread, spread),
        y=y,
        unit=unit,
        roll=rng.normal(0, 0.04),
        pose=Pose(
            yaw=rng.uniform(-0.3, 0.3),
            pitch=rng.uniform(-0.1, 0.1),
            left_arm=rng.uniform(0.1, 0.5),
            right_arm=rng.uniform(0.1, 0.5),
        ),
        view=View(rng.uniform(-0.15, 0.15), rng.uniform(1.0, 1.15)),
        seed=int(rng.integers(2**32)),
        style=style,
    )
    side = rng.choice((-1.0, 1.0))
    phase, speed, extent = rng.uniform(0, 2 * math.pi), rng.uniform(0.8, 1.25), rng.uniform(0.75, 1.25)
    return lambda time: _moved(still, time, side, phase, speed, extent)


def _moved(still: Shot, time: float, side: float, phase: float, speed: float, extent: float) -> Shot:
    """The shot at a time from -1 to 1."""
    pose, view = still.pose, still.view
    beat = math.sin(2 * math.pi * speed * time + phase)
    match still.action:
        case "walk":
            way = 0.16 * extent * side * time
            stride = replace(
                pose, yaw=0.45 * side, stride=beat, left_arm=0.3 + 0.35 * beat, right_arm=0.3 - 0.35 * beat
            )
            return replace(still, x=still.x + way, y=still.y - 0.1 * still.unit * abs(beat), pose=stride)
        case "turn":
            return replace(still, pose=replace(pose, yaw=0.75 * extent * side * math.sin(1.4 * time)))
        case "nod":
            return replace(still, pose=replace(pose, pitch=0.32 * extent * beat))
        case "wave":
            return replace(still, pose=replace(pose, right_arm=2.35 + 0.4 * extent * beat))
        case "zoom":
            scale = 1.25 ** (extent * side * time)
            away = still.y - 0.5
            return replace(
                still,
                unit=still.unit * scale,
                x=0.5 + (still.x - 0.5) * scale,
                y=0.5 + away * scale,
                view=replace(view, zoom=max(1.0, view.zoom * 1.1 * scale**0.5)),
            )
        case "drift":
            pan = 0.14 * extent * side * time
            return replace(still, x=still.x - pan * view.zoom, view=replace(view, pan=view.pan + pan))
    return still
