"""The demo world: people, robots and cats in ten places, drawn from a seed, with everything about them known.

A `Look` (demo.characters) is who somebody is, a `Shot` (demo.shots) how one picture of them is taken. `render` draws;
`demo.captions` tells what is to be seen. Everything comes from the generator that is passed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .appearance import random_look
from .captions import caption
from .characters import Look, draw_character
from .drawing import Pen, box
from .places import PLACES
from .shots import Shot, random_shot

SIZE = 128
STYLES = ("soft", "ink")
LANDMARKS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")


@dataclass(frozen=True)
class Render:
    """A picture and what is known about it.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        mask: (H, W) uint8, 255 on the subject.
        face_box: (x0, y0, x1, y1) pixels, end-exclusive, not clipped to the picture.
        landmarks: (5, 2) pixels x, y: left eye, right eye (as seen), nose, left and right corner of the mouth.
    """

    image: np.ndarray
    mask: np.ndarray
    face_box: tuple[float, float, float, float]
    landmarks: np.ndarray
    look: Look
    shot: Shot

    @property
    def caption(self) -> str:
        return caption(self.look, self.shot)


def render(look: Look, shot: Shot, size: int = SIZE) -> Render:
    """Draws one picture of size x size pixels."""
    return render_group([(look, shot)], size)[0]


def render_group(people: Sequence[tuple[Look, Shot]], size: int = SIZE) -> list[Render]:
    """Draws several people in the place of the first one, each before those named earlier; one Render for each.

    Masks leave out what others cover.
    """
    pen = _place(people[0][1], size)
    known, masks = [], []
    for look, shot in people:
        pen.frame(shot.x * size, shot.y * size, shot.unit * size, shot.roll)
        points = draw_character(pen, look, shot.pose)
        corners = pen.to_pixels(box(*points["box"].ravel()))
        face_box = (*corners.min(0).tolist(), *corners.max(0).tolist())
        known.append((face_box, np.concatenate([pen.to_pixels(points[name]) for name in LANDMARKS]), look, shot))
        masks = [np.where(pen.mask() > 127, 0, mask) for mask in masks] + [pen.mask()]
        pen.forget_mask()
    image = pen.picture()
    return [Render(image, mask, *facts) for mask, facts in zip(masks, known, strict=True)]


def empty_place(rng: np.random.Generator, style: str = "soft", size: int = SIZE) -> np.ndarray:
    """A place with nobody in it, (H, W, 3) uint8."""
    return _place(random_shot(rng, style=style), size).picture()


def _place(shot: Shot, size: int) -> Pen:
    """The place of a shot, drawn."""
    pen = Pen(size, shot.style)
    PLACES[shot.place](pen, shot.view, np.random.default_rng(shot.seed))
    if pen.ink:
        pen.paper(0.45)
    return pen


@dataclass(frozen=True)
class Scene:
    """A picture that has not been drawn yet.

    Attributes:
        crop: (x, y) of the corner of what is shown of a drawing twice the size, in pixels; None shows the whole.
    """

    look: Look
    shot: Shot
    crop: tuple[int, int] | None = None


def random_scene(rng: np.random.Generator, style: str = "soft") -> Scene:
    """What the image model is trained on: one in eight is a crop of a picture twice the size, as tiles are."""
    look, shot = random_look(rng), random_shot(rng, style=style)
    if rng.random() < 0.125:
        x, y = rng.integers(0, SIZE + 1, 2)
        return Scene(look, replace(shot, framing="detail"), (int(x), int(y)))
    return Scene(look, shot)


def draw(scene: Scene) -> Render:
    """`render`, and the crop."""
    if scene.crop is None:
        return render(scene.look, scene.shot)
    whole = render(scene.look, scene.shot, 2 * SIZE)
    x, y = scene.crop
    x0, y0, x1, y1 = whole.face_box
    return Render(
        np.ascontiguousarray(whole.image[y : y + SIZE, x : x + SIZE]),
        np.ascontiguousarray(whole.mask[y : y + SIZE, x : x + SIZE]),
        (x0 - x, y0 - y, x1 - x, y1 - y),
        whole.landmarks - (x, y),
        scene.look,
        scene.shot,
    )
