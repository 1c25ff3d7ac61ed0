"""An antialiased pen over OpenCV that remembers which pixels belong to the subject."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import cv2
import numpy as np

Colour = tuple[int, int, int]
"""Red, green, blue, 0-255."""

SUPERSAMPLING = 2
FOCUS = 0.7  # pixels; hard edges are what an autoencoder this small spends itself on
INK = (46, 38, 44)
_SHIFT = 4  # OpenCV's polygons in sixteenths of a pixel
_TURN = np.linspace(0, 2 * np.pi, 48, endpoint=False)


class Pen:
    """Draws polygons through a movable affine frame onto a square picture.

    Everything drawn inside `with pen.subject():` is also drawn into `mask`. In the style "ink" every shape drawn
    by `fill` gets a dark outline.
    """

    def __init__(self, size: int, style: str = "soft"):
        self.size, self.ink = size, style == "ink"
        side = size * SUPERSAMPLING
        self._image = np.zeros((side, side, 3), np.uint8)
        self._mask = np.zeros((side, side), np.uint8)
        self._on_subject = False
        self.frame(0, 0, size)

    def frame(self, x: float, y: float, unit: float, roll: float = 0.0) -> None:
        """From now on (0, 0) is the pixel (x, y), one unit is `unit` pixels, turned by `roll` radians."""
        turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
        self.linear = turn * unit
        self.origin = np.array([x, y], float)

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) in the frame -> (N, 2) pixels of the finished picture."""
        return np.asarray(points, float) @ self.linear.T + self.origin

    @contextmanager
    def subject(self) -> Iterator[None]:
        self._on_subject = True
        try:
            yield
        finally:
            self._on_subject = False

    def fill(self, points: np.ndarray, colour: Colour, outline: bool = True) -> None:
        """A closed polygon, points (N, 2)."""
        corners = self._fixed_point(points)
        cv2.fillPoly(self._image, [corners], colour, cv2.LINE_AA, _SHIFT)
        if self._on_subject:
            cv2.fillPoly(self._mask, [corners], 255, cv2.LINE_AA, _SHIFT)
        if self.ink and outline:
            width = max(1, round(SUPERSAMPLING * self.size / 110))
            cv2.polylines(self._image, [corners], True, INK, width, cv2.LINE_AA, _SHIFT)

    def line(self, points: Sequence, width: float, colour: Colour) -> None:
        """An open line, `width` in units of the frame."""
        corners = self._fixed_point(points)
        thickness = max(1, round(width * np.linalg.norm(self.linear[0]) * SUPERSAMPLING))
        cv2.polylines(self._image, [corners], False, colour, thickness, cv2.LINE_AA, _SHIFT)
        if self._on_subject:
            cv2.polylines(self._mask, [corners], False, 255, thickness, cv2.LINE_AA, _SHIFT)

    def gradient(self, top: Colour, bottom: Colour, end: float = 1.0) -> None:
        """The whole picture from `top` to `bottom`, which is reached at the fraction `end` of its height."""
        side = len(self._image)
        share = np.clip(np.arange(side) / (side * end), 0, 1)[:, None]
        column = (np.array(top) * (1 - share) + np.array(bottom) * share).astype(np.uint8)[:, None]
        self._image[:] = cv2.resize(column, (side, side), interpolation=cv2.INTER_NEAREST)

    def paper(self, share: float) -> None:
        """Fades what has been drawn towards paper."""
        paper = np.full_like(self._image, (250, 246, 236))
        self._image = cv2.addWeighted(self._image, 1 - share, paper, share, 0)

    def picture(self) -> np.ndarray:
        """(size, size, 3) uint8 RGB, as softly focused as a lens would leave it."""
        sharp = cv2.resize(self._image, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return cv2.GaussianBlur(sharp, (0, 0), FOCUS)

    def mask(self) -> np.ndarray:
        """(size, size) uint8, 255 on the subject, less at its edge."""
        return cv2.resize(self._mask, (self.size, self.size), interpolation=cv2.INTER_AREA)

    def forget_mask(self) -> None:
        self._mask[:] = 0

    def _fixed_point(self, points: Sequence) -> np.ndarray:
        pixels = self.to_pixels(points) * SUPERSAMPLING - 0.5
        return np.rint(pixels * 2**_SHIFT).astype(np.int32)


def ellipse(x: float, y: float, rx: float, ry: float, power: float = 2.0, bottom: float = 1.0) -> np.ndarray:
    """A superellipse as (48, 2) points: power 2 is an ellipse, more is squarer; `bottom` narrows the lower half."""
    return _superellipse(power, bottom) * (rx, ry) + (x, y)


@lru_cache(512)
def _superellipse(power: float, bottom: float) -> np.ndarray:
    cos, sin = np.cos(_TURN), np.sin(_TURN)
    across = np.sign(cos) * np.abs(cos) ** (2 / power)
    down = np.sign(sin) * np.abs(sin) ** (2 / power)
    across = across * np.where(down > 0, 1 - (1 - bottom) * down**2, 1)
    return np.stack([across, down], axis=1)


def arc(x: float, y: float, rx: float, ry: float, start: float, end: float, points: int = 20) -> np.ndarray:
    """Part of an ellipse from `start` to `end` degrees; 0 is right, 90 is down."""
    angle = np.radians(np.linspace(start, end, points))
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def box(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], float)


def shade(colour: Colour, factor: float) -> Colour:
    """Darker below 1, lighter above (towards white)."""
    if factor <= 1:
        return tuple(round(value * factor) for value in colour)
    return tuple(round(value + (255 - value) * (factor - 1)) for value in colour)
