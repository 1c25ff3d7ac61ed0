"""The places of the demo world: backgrounds that are told apart at a glance."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .drawing import Colour, Pen, box, ellipse, shade

Draw = Callable[[Pen, "View", np.random.Generator], None]


@dataclass(frozen=True)
class View:
    """Where the camera looks. Far things move by less than near ones.

    Attributes:
        pan: how far the camera has moved to the right, in picture widths.
        zoom: 1 or more, about the middle of the horizon.
    """

    pan: float = 0.0
    zoom: float = 1.0


HORIZON = 0.62  # of the picture's height


def _layer(pen: Pen, view: View, depth: float) -> None:
    """Frame for a layer: (0, 0) is the left end of the horizon, one unit the picture's width."""
    zoom = 1 + (view.zoom - 1) * depth
    unit = pen.size * zoom
    pen.frame(0.5 * pen.size - (0.5 + view.pan * depth) * unit, HORIZON * pen.size, unit)


def _ground(pen: Pen, colour: Colour, y: float = 0.0) -> None:
    pen.fill(box(-2, y, 3, 2), colour, outline=False)


def _spread(rng: np.random.Generator, count: int, jitter: float = 0.25) -> np.ndarray:
    """Places along [-0.6, 1.6], evenly but for a jitter."""
    step = 2.2 / count
    return -0.6 + step * (np.arange(count) + 0.5 + rng.uniform(-jitter, jitter, count))


def beach(pen: Pen, view: View, rng: np.random.Generator) -> None:
    pen.gradient((120, 200, 245), (225, 245, 252), 0.6)
    _layer(pen, view, 0.2)
    pen.fill(ellipse(rng.uniform(0.1, 0.9), -0.45, 0.09, 0.09), (255, 236, 130))
    _layer(pen, view, 0.4)
    pen.fill(box(-2, -0.14, 3, 0.2), (40, 160, 190))
    pen.fill(box(-2, 0.0, 3, 0.2), (90, 205, 210), outline=False)
    _layer(pen, view, 1.0)
    _ground(pen, (244, 220, 160), 0.09)
    for x in _spread(rng, 3)[rng.permutation(3)[:2]]:
        pen.fill(np.array([(x - 0.02, 0.14), (x + 0.02, 0.14), (x + 0.06, -0.3), (x + 0.03, -0.3)]), (150, 105, 65))
        for angle in (-150, -110, -60, -20, 20, 160):
            tip = np.array([np.cos(np.radians(angle)), 0.7 * np.sin(np.radians(angle))]) * 0.2
            middle, side = tip * 0.5 + (0, -0.05), np.array([-tip[1], tip[0]]) * 0.22
            leaf = np.array([(0, 0), middle + side, tip + (0, 0.03), middle - side])
            pen.fill(leaf + (x + 0.045, -0.3), (50, 150, 75))


def forest(pen: Pen, view: View, rng: np.random.Generator) -> None:
    pen.gradient((120, 175, 120), (60, 115, 70), 0.6)
    _layer(pen, view, 0.35)
    for x in _spread(rng, 9):
        pen.fill(ellipse(x, -0.42, 0.17, 0.3), (48, 104, 62))
    _ground(pen, (58, 96, 52))
    _layer(pen, view, 0.8)
    for x in _spread(rng, 6):
        pen.fill(box(x - 0.035, -0.8, x + 0.035, 0.08), (98, 68, 46))
        pen.fill(ellipse(x, -0.62, 0.19, 0.2), (38, 126, 58))
    _layer(pen, view, 1.0)
    _ground(pen, (76, 124, 58), 0.06)


def snow(pen: Pen, view: View, rng: np.random.Generator) -> None:
    pen.gradient((150, 190, 230), (226, 236, 248), 0.62)
    _layer(pen, view, 0.25)
    for x in _spread(rng, 5):
        height = rng.uniform(0.3, 0.46)
        peak = np.array([(x - 0.32, 0.02), (x, -height), (x + 0.32, 0.02)])
        pen.fill(peak, (150, 165, 195))
        pen.fill(np.array([(x - 0.11, -height * 0.66), (x, -height), (x + 0.11, -height * 0.66)]), (250, 252, 255))
    _layer(pen, view, 0.8)
    _ground(pen, (240, 246, 252), -0.02)
    for x in _spread(rng, 4):
        for step in range(3):
            width, y = 0.1 - 0.025 * step, 0.04 - 0.1 * step
            pen.fill(np.array([(x - width, y), (x, y - 0.15), (x + width, y)]), (70, 120, 110))
    _layer(pen, view, 1.0)
    _ground(pen, (250, 252, 255), 0.1)


def city(pen: Pen, view: View, rng: np.random.Generator) -> None:
    pen.gradient((18, 20, 58), (70, 50, 110), 0.62)
    _layer(pen, view, 0.15)
    pen.fill(ellipse(rng.uniform(0.15, 0.85), -0.5, 0.06, 0.06), (244, 240, 210))
    _layer(pen, view, 0.6)
    for x in _spread(rng, 9, 0.1):
        height = rng.uniform(0.26, 0.52)
        pen.fill(box(x - 0.115, -height, x + 0.115, 0.1), shade((46, 48, 92), rng.uniform(0.8, 1.1)))
        for row in range(int((height - 0.06) / 0.095)):
            for column in (-0.06, 0.06):
                lit = rng.random() < 0.7
                top = -height + 0.04 + 0.095 * row
                window = box(x + column - 0.03, top, x + column + 0.03, top + 0.05)
                pen.fill(window, (255, 214, 110) if lit else (60, 62, 110), outline=False)
    _layer(pen, view, 1.0)
    _ground(pen, (62, 62, 74), 0.08)
    pen.fill(box(-2, 0.08, 3, 0.115), (110, 108, 122), outline=False)


def desert(pen: Pen, view: View, rng: np.random.Generator) -> None:
    pen.gradient((250, 170, 90), (255, 224, 160), 0.6)
    _layer(pen, view, 0.2)
    pen.fill(ellipse(rng.uniform(0.1, 0.9), -0.32, 0.11, 0.11), (255, 246, 205))
    _layer(pen, view, 0.45)
    for x in _spread(rng, 5):
        pen.fill(ellipse(x, 0.1, 0.36, rng.uniform(0.16, 0.26)), (222, 150, 84))
    _layer(pen, view, 1.0)
    _ground(pen, (214, 130, 66), 0.07)
    for x in _spread(rng, 4)[rng.permutation(4)[:3]]:
        green = (60, 130, 72)
        pen.fill(ellipse(x, -0.08, 0.04, 0.22, 4), green)
        for side, y in ((-1, -0.08), (1, -0.14)):
            pen.fill(box(min(x, x + side * 0.1), y, max(x, x + side * 0.1), y + 0.05), green)
            pen.fill(ellipse(x + side * 0.1, y - 0.03, 0.03, 0.09, 4), green)


def library(pen: Pen, view: View, rng: np.random.Generator) -> None:
    pen.gradient((120, 78, 48), (104, 66, 40))
    _layer(pen, view, 0.7)
    books = ((166, 52, 48), (48, 92, 140), (64, 122, 74), (206, 160, 70), (120, 70, 130), (216, 200, 170))
    for shelf in range(4):
        y = -0.56 + 0.185 * shelf
        x = -0.7
        while x < 1.7:
            width = rng.uniform(0.05, 0.085)
            top = y - rng.uniform(0.11, 0.14)
            pen.fill(box(x, top, x + width * 0.94, y), books[rng.integers(len(books))])
            x += width
        pen.fill(box(-2, y, 3, y + 0.03), (82, 50, 30))
    _layer(pen, view, 1.0)
    _ground(pen, (168, 116, 72), 0.08)
    pen.fill(box(-2, 0.2, 3, 0.26), (150, 60, 60), outline=False)


def meadow(pen: Pen, view: View, rng: np.random.Generator) -> None:
    pen.gradient((90, 170, 240), (205, 232, 250), 0.55)
    _layer(pen, view, 0.2)
    for x in _spread(rng, 4):
        y = rng.uniform(-0.52, -0.34)
        for dx, size in ((-0.07, 0.05), (0, 0.07), (0.08, 0.05)):
            pen.fill(ellipse(x + dx, y, size * 1.3, size * 0.8), (255, 255, 255), outline=False)
    _layer(pen, view, 0.5)
    for x in _spread(rng, 3):
        pen.fill(ellipse(x, 0.12, 0.6, 0.26), (130, 200, 90))
    _layer(pen, view, 1.0)
    _ground(pen, (104, 182, 70), 0.05)
    flowers = ((255, 255, 255), (255, 210, 60), (240, 100, 150), (190, 110, 230))
    for row in range(3):
        for x in _spread(rng, 10):
            y = 0.1 + 0.11 * row + rng.uniform(-0.02, 0.02)
            pen.fill(ellipse(x, y, 0.024, 0.024), flowers[rng.integers(len(flowers))])


def moon(pen: Pen, view: View, rng: np.random.Generator) -> None:
    pen.gradient((6, 6, 16), (16, 16, 34))
    _layer(pen, view, 0.1)
    for _ in range(22):
        x, y, size = rng.uniform(-0.2, 1.2), rng.uniform(-0.6, -0.05), rng.uniform(0.006, 0.011)
        pen.fill(ellipse(x, y, size, size), (250, 250, 255), outline=False)
    x = rng.choice([rng.uniform(0.08, 0.25), rng.uniform(0.75, 0.92)])
    pen.fill(ellipse(x, -0.42, 0.11, 0.11), (60, 120, 220))
    pen.fill(ellipse(x - 0.03, -0.45, 0.05, 0.035), (90, 180, 110), outline=False)
    pen.fill(ellipse(x + 0.04, -0.39, 0.035, 0.04), (90, 180, 110), outline=False)
    _layer(pen, view, 1.0)
    _ground(pen, (150, 150, 158), 0.02)
    for row, x in enumerate(_spread(rng, 7)):
        y = 0.08 + 0.09 * (row % 4)
        pen.fill(ellipse(x, y, 0.085, 0.026), (112, 112, 122))


def sea(pen: Pen, view: View, rng: np.random.Generator) -> None:
    pen.gradient((40, 150, 205), (8, 52, 110))
    _layer(pen, view, 0.5)
    for x in _spread(rng, 4):
        y, side = rng.uniform(-0.5, -0.1), rng.choice([-1, 1])
        colour = ((255, 150, 60), (255, 220, 90), (250, 110, 120))[rng.integers(3)]
        pen.fill(np.array([(x, y), (x + side * 0.1, y - 0.045), (x + side * 0.1, y + 0.045)]), colour)
        pen.fill(ellipse(x, y, 0.065, 0.04), colour)
    _layer(pen, view, 0.9)
    for x in _spread(rng, 8):
        height = rng.uniform(0.2, 0.42)
        y = np.linspace(0.12, 0.12 - height, 8)
        sway = 0.025 * np.sin(np.linspace(0, 7, 8) + x * 9)
        weed = np.concatenate([np.stack([x + sway - 0.022, y], 1), np.stack([x + sway + 0.022, y], 1)[::-1]])
        pen.fill(weed, (40, 140, 90))
    for _ in range(10):
        x, y, size = rng.uniform(-0.2, 1.2), rng.uniform(-0.6, 0.1), rng.uniform(0.01, 0.02)
        pen.fill(ellipse(x, y, size, size), (150, 215, 240))
    _layer(pen, view, 1.0)
    _ground(pen, (190, 176, 130), 0.12)


def stage(pen: Pen, view: View, rng: np.random.Generator) -> None:
    pen.gradient((70, 14, 24), (70, 14, 24))
    _layer(pen, view, 0.6)
    for x in np.arange(-0.7, 1.7, 0.16) + rng.uniform(0, 0.16):
        pen.fill(box(x, -0.8, x + 0.08, 0.1), (168, 26, 40), outline=False)
        pen.fill(box(x + 0.08, -0.8, x + 0.11, 0.1), (128, 18, 32), outline=False)
    middle = rng.uniform(0.35, 0.65)
    for x in np.arange(-0.62, 1.62, 0.32) + rng.uniform(-0.1, 0.1):
        pen.fill(ellipse(x, -0.62, 0.19, 0.11), (226, 176, 62))
    _layer(pen, view, 1.0)
    _ground(pen, (120, 76, 46), 0.08)
    pen.fill(ellipse(middle, 0.24, 0.46, 0.1), (196, 150, 96), outline=False)


PLACES: dict[str, Draw] = {
    "on a beach": beach,
    "in a forest": forest,
    "in the snow": snow,
    "in a city at night": city,
    "in a desert": desert,
    "in a library": library,
    "in a flower meadow": meadow,
    "on the moon": moon,
    "under the sea": sea,
    "on a stage": stage,
}
"""What a caption calls a place -> what draws it."""
