"""How the demo world's characters look: from an identity and a pose to shapes.

Lengths are in head units: the head is about two units high and centred on (0, 0), y points down, the feet stand at
`FEET`. Features lie on a sphere, so that a turned or nodding head moves them as a real one would.
"""

import math
from dataclasses import dataclass

import numpy as np

from .drawing import Colour, Pen, arc, box, ellipse, shade

FEET = 3.55

FACES = {"round": (1.04, 0.98, 2.0, 0.98), "oval": (0.82, 1.1, 2.0, 0.9), "square": (0.94, 1.0, 4.0, 1.0)}
"""Half width, half height, power of the superellipse, how much narrower below."""


@dataclass(frozen=True)
class Look:
    """What is drawn of a person: names of kinds, and colours."""

    noun: str
    face: str
    brows: str
    hair: str
    glasses: str
    hat: str
    beard: str
    pattern: str
    skin: Colour
    eyes: Colour
    hair_colour: Colour
    shirt: Colour


@dataclass(frozen=True)
class Pose:
    """Angles in radians.

    Attributes:
        yaw, pitch: of the head; positive to the picture's right, and down.
        left_arm, right_arm: raised sideways from hanging (0) to straight up (pi).
        stride: how far the legs are apart, -1 to 1.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    left_arm: float = 0.25
    right_arm: float = 0.25
    stride: float = 0.0


def draw_character(pen: Pen, look: Look, pose: Pose) -> dict[str, np.ndarray]:
    """Draws into the pen's frame; returns points of the face in head units: left_eye … right_mouth, and its box."""
    with pen.subject():
        _behind(pen, look, pose)
        _body(pen, look, pose)
        return _head(pen, look, pose)


def _turned(look: Look, pose: Pose, x: float, y: float) -> tuple[float, float, float]:
    """A place on the front of the head -> where it is seen, and how much narrower, after turning."""
    half_width, half_height, *_ = FACES[look.face]
    across, down = math.asin(np.clip(x / half_width, -1, 1)), math.asin(np.clip(y / half_height, -1, 1))
    seen = np.clip(across + pose.yaw, -1.45, 1.45)
    return (
        half_width * math.sin(seen),
        half_height * math.sin(np.clip(down + pose.pitch, -1.45, 1.45)),
        math.cos(seen) / max(math.cos(across), 0.15),
    )


def _behind(pen: Pen, look: Look, pose: Pose) -> None:
    """What hangs behind the body."""
    colour, back = look.hair_colour, shade(look.hair_colour, 0.78)
    shift = -0.12 * math.sin(pose.yaw)
    if look.hair == "long":
        pen.fill(ellipse(shift, 0.55, 1.28, 1.55, 3.2), back)
    elif look.hair == "bob":
        pen.fill(ellipse(shift, 0.1, 1.27, 1.0, 3.0), back)
    elif look.hair == "ponytail":
        pen.fill(ellipse(1.22, 0.28, 0.34, 0.85, 2.2), back)
        pen.fill(ellipse(0.98, -0.45, 0.24, 0.2), shade(colour, 0.6))
    elif look.hair == "curly":
        for angle in range(-200, 41, 30):
            x, y = 1.02 * math.cos(math.radians(angle)) + shift, -0.12 + 0.98 * math.sin(math.radians(angle))
            pen.fill(ellipse(x, y, 0.42, 0.42), colour)
    if look.noun == "cat":
        swing = 0.1 * pose.stride
        tail = np.array([(0.5, 2.9), (1.15, 2.85), (1.35 + swing, 2.3), (1.2 + swing, 1.75)])
        pen.line(tail, 0.28, shade(look.skin, 0.85))


def _body(pen: Pen, look: Look, pose: Pose) -> None:
    trousers = (70, 78, 120) if look.noun in ("woman", "man") else shade(look.skin, 0.82)
    robot = look.noun == "robot"
    for side in (-1, 1):
        foot = 0.34 * side + 0.32 * side * pose.stride
        lift = 0.14 * max(0.0, -side * pose.stride)
        leg = np.array([(0.12 * side, 2.3), (0.62 * side, 2.3), (foot + 0.24 * side, 3.4 - lift)])
        leg = np.concatenate([leg, [(foot - 0.18 * side, 3.4 - lift)]])
        pen.fill(leg, trousers)
        shoe = shade(look.skin, 0.6) if robot else shade(look.skin, 0.95) if look.noun == "cat" else (92, 58, 44)
        pen.fill(ellipse(foot + 0.06 * side, 3.42 - lift, 0.34, 0.15), shoe)
    for side, angle in ((-1, pose.left_arm), (1, pose.right_arm)):
        shoulder = np.array([side * 0.62, 1.38])
        direction = np.array([side * math.sin(angle), math.cos(angle)])
        across = np.array([-direction[1], direction[0]])
        elbow, hand = shoulder + 0.62 * direction, shoulder + 1.12 * direction
        skin = shade(look.skin, 0.92)
        pen.fill(
            np.array([elbow + 0.15 * across, hand + 0.13 * across, hand - 0.13 * across, elbow - 0.15 * across]), skin
        )
        pen.fill(ellipse(*hand, 0.19, 0.19), skin)
        end = shoulder + 0.72 * direction
        pen.fill(
            np.array([shoulder + 0.22 * across, end + 0.19 * across, end - 0.19 * across, shoulder - 0.22 * across]),
            shade(look.shirt, 0.88),
        )
    torso = ellipse(0, 1.86, 0.8, 0.82, 3.2, 0.92)
    pen.fill(torso, look.shirt)
    if look.pattern == "striped":
        light = sum(look.shirt) > 480
        stripe = shade(look.shirt, 0.55) if light else shade(look.shirt, 1.72)
        for y in (1.42, 1.82, 2.22):
            half = 0.74 if y < 2.1 else 0.68
            pen.fill(box(-half, y - 0.09, half, y + 0.09), stripe, outline=False)
    if robot:
        pen.fill(ellipse(0, 1.05, 0.36, 0.2, 4), shade(look.skin, 0.7))
    else:
        pen.fill(ellipse(0, 1.02, 0.3, 0.28), shade(look.skin, 0.86))


def _head(pen: Pen, look: Look, pose: Pose) -> dict[str, np.ndarray]:
    half_width, half_height, power, bottom = FACES[look.face]
    if look.noun == "cat":
        for side in (-1, 1):
            x, _, _ = _turned(look, pose, side * 0.6, -0.7)
            pen.fill(np.array([(x - 0.34, -0.62), (x + 0.16 * side, -1.38), (x + 0.34, -0.58)]), look.skin)
            pen.fill(
                np.array([(x - 0.17, -0.72), (x + 0.12 * side, -1.16), (x + 0.17, -0.7)]),
                (240, 150, 160),
                outline=False,
            )
    elif look.noun == "robot":
        for side in (-1, 1):
            pen.fill(ellipse(side * (half_width + 0.05), 0.05, 0.16, 0.3, 4), shade(look.skin, 0.7))
        _antennas(pen, look, pose)
    else:
        for side in (-1, 1):
            hidden = side * pose.yaw > 0.35
            if not hidden:
                pen.fill(ellipse(side * half_width * 0.99, 0.12, 0.15, 0.22), shade(look.skin, 0.93))
    head = ellipse(0, 0, half_width, half_height, power, bottom)
    pen.fill(head, look.skin)
    if look.noun == "cat":
        _markings(pen, look, pose)
    if look.beard == "full beard":
        _beard(pen, look, pose)
    points = _eyes(pen, look, pose)
    points |= _mouth(pen, look, pose)
    if look.noun in ("woman", "man"):
        _front_hair(pen, look, pose)
    _brows(pen, look, pose)
    _glasses(pen, look, pose)
    _hat(pen, look, pose)
    points["box"] = np.array([(-half_width, -half_height), (half_width, half_height)])
    return points


def _eyes(pen: Pen, look: Look, pose: Pose) -> dict[str, np.ndarray]:
    points = {}
    for name, side in (("left_eye", -1), ("right_eye", 1)):
        x, y, narrow = _turned(look, pose, 0.4 * side, 0.08)
        points[name] = np.array([(x, y)])
        if look.noun == "robot":
            pen.fill(ellipse(x, y, 0.27 * narrow, 0.25, 4), (34, 38, 48))
            pen.fill(ellipse(x, y, 0.19 * narrow, 0.18, 3), look.eyes, outline=False)
            continue
        pen.fill(ellipse(x, y, 0.27 * narrow, 0.27), (252, 252, 250))
        pen.fill(ellipse(x, y + 0.02, 0.19 * narrow, 0.21), look.eyes, outline=False)
        pen.fill(ellipse(x, y + 0.02, 0.08 * narrow, 0.1), (24, 20, 26), outline=False)
    return points


def _mouth(pen: Pen, look: Look, pose: Pose) -> dict[str, np.ndarray]:
    nose_x, nose_y, _ = _turned(look, pose, 0.0, 0.36)
    left_x, left_y, _ = _turned(look, pose, -0.26, 0.6)
    right_x, right_y, _ = _turned(look, pose, 0.26, 0.6)
    middle_x, middle_y, _ = _turned(look, pose, 0.0, 0.7)
    if look.noun == "robot":
        pen.fill(box(left_x, left_y - 0.06, right_x, right_y + 0.1), (60, 66, 78))
    else:
        if look.noun == "cat":
            pen.fill(
                np.array([(nose_x - 0.12, nose_y - 0.06), (nose_x + 0.12, nose_y - 0.06), (nose_x, nose_y + 0.08)]),
                (230, 120, 130),
            )
        else:
            pen.fill(ellipse(nose_x, nose_y, 0.1, 0.08), shade(look.skin, 0.84), outline=False)
        lip = (196, 62, 78) if look.noun == "woman" else (150, 70, 66) if look.noun == "man" else (120, 70, 70)
        smile = np.concatenate(
            [
                _curve((left_x, left_y), (middle_x, middle_y + 0.14), (right_x, right_y)),
                _curve((right_x, right_y), (middle_x, middle_y - 0.06), (left_x, left_y)),
            ]
        )
        pen.fill(smile, lip, outline=False)
    if look.beard == "moustache":
        x, y, _ = _turned(look, pose, 0.0, 0.5)
        for side in (-1, 1):
            pen.fill(ellipse(x + 0.19 * side, y + 0.01, 0.24, 0.1), look.hair_colour)
    return {
        "nose": np.array([(nose_x, nose_y)]),
        "left_mouth": np.array([(left_x, left_y)]),
        "right_mouth": np.array([(right_x, right_y)]),
    }


def _curve(start, bend, end) -> np.ndarray:
    """A quadratic Bezier curve, (8, 2)."""
    t = np.linspace(0, 1, 8)[:, None]
    return (1 - t) ** 2 * np.array(start) + 2 * t * (1 - t) * np.array(bend) + t**2 * np.array(end)


def _beard(pen: Pen, look: Look, pose: Pose) -> None:
    half_width, half_height, power, bottom = FACES[look.face]
    outline = ellipse(0, 0, half_width * 1.02, half_height * 1.08, power, bottom)
    lower = outline[outline[:, 1] > 0.2 * half_height]
    x, y, _ = _turned(look, pose, 0.0, 0.42)
    inner = [
        (0.72 * half_width, 0.3),
        (x + 0.34, y + 0.02),
        (x, y - 0.03),
        (x - 0.34, y + 0.02),
        (-0.72 * half_width, 0.3),
    ]
    pen.fill(np.concatenate([lower, np.array(inner)[::-1]]), look.hair_colour)


def _brows(pen: Pen, look: Look, pose: Pose) -> None:
    if look.brows == "none":
        return
    width = 0.18 if look.brows == "thick" else 0.07
    colour = shade(look.hair_colour, 0.55)
    for side in (-1, 1):
        x, y, narrow = _turned(look, pose, 0.4 * side, -0.3)
        half = 0.26 * narrow
        pen.fill(
            np.array([(x - half, y + 0.03), (x, y - 0.05 - width / 2), (x + half, y + 0.03), (x, y - 0.02 + width / 2)])
            if look.brows == "thin"
            else ellipse(x, y, half, width / 2 + 0.02, 3),
            colour,
            outline=False,
        )


def _cap_of_hair(look: Look, pose: Pose, line: float, grow: float = 1.08, drop: float = 0.1) -> np.ndarray:
    """The top of the head down to a hairline that turns with the head."""
    half_width, half_height, power, _ = FACES[look.face]
    over = ellipse(0, 0, half_width * grow, half_height * grow, power)
    over = over[over[:, 1] <= drop]
    angle = np.arctan2(over[:, 1], over[:, 0])
    over = over[np.argsort(np.where(angle > np.pi / 2, angle - 2 * np.pi, angle))]
    hairline = [_turned(look, pose, x, line + 0.35 * abs(x) ** 2.5)[:2] for x in (0.8, 0.45, 0.0, -0.45, -0.8)]
    return np.concatenate([over, np.array(hairline)])  # from the left temple over the top to the right one, and back


def _front_hair(pen: Pen, look: Look, pose: Pose) -> None:
    half_width, *_ = FACES[look.face]
    colour = look.hair_colour
    if look.hair == "bald":
        return
    if look.hair == "mohawk":
        x, _, _ = _turned(look, pose, 0.0, -0.5)
        pen.fill(ellipse(0.6 * x, -0.98, 0.27, 0.52, 2.4), colour)
        return
    if look.hair == "curly":
        for x0 in (-0.72, -0.36, 0.0, 0.36, 0.72):
            x, y, _ = _turned(look, pose, x0, -0.72 + 0.35 * x0**2)
            pen.fill(ellipse(x, y, 0.29, 0.27), colour)
        return
    pen.fill(_cap_of_hair(look, pose, -0.42 if look.hair != "short" else -0.52), colour)
    if look.hair in ("long", "bob"):
        length = 1.5 if look.hair == "long" else 0.85
        for side in (-1, 1):
            x = side * (half_width + 0.06)
            pen.fill(ellipse(x, -0.1 + length / 2, 0.24, length / 2 + 0.3, 3), colour)
    elif look.hair == "bun":
        pen.fill(ellipse(-0.1 * math.sin(pose.yaw), -1.22, 0.42, 0.36), colour)
    elif look.hair == "braids":
        for side in (-1, 1):
            x = side * (half_width + 0.1)
            for knot in range(4):
                pen.fill(ellipse(x + 0.04 * side * knot, 0.3 + 0.36 * knot, 0.22, 0.24), colour)
            pen.fill(ellipse(x + 0.16 * side, 1.66, 0.13, 0.12), (230, 70, 90))


def _antennas(pen: Pen, look: Look, pose: Pose) -> None:
    """A robot's "hair"."""
    top = -FACES[look.face][1] + 0.06
    shift = 0.25 * math.sin(pose.yaw)
    metal = shade(look.skin, 0.65)
    if look.hair == "antenna":
        pen.line([(shift, top), (shift, top - 0.34)], 0.1, metal)
        pen.fill(ellipse(shift, top - 0.4, 0.2, 0.2), look.hair_colour)
    elif look.hair == "two antennas":
        for side in (-1, 1):
            pen.line([(0.4 * side + shift, top + 0.12), (0.62 * side + shift, top - 0.28)], 0.1, metal)
            pen.fill(ellipse(0.64 * side + shift, top - 0.32, 0.18, 0.18), look.hair_colour)
    else:
        pen.fill(ellipse(shift, top, 0.3, 0.42, 2.4), look.hair_colour)


def _markings(pen: Pen, look: Look, pose: Pose) -> None:
    """A cat's "hair"."""
    if look.hair == "tabby":
        for x0 in (-0.34, 0.0, 0.34):
            x, y, _ = _turned(look, pose, x0, -0.64)
            pen.fill(ellipse(x, y, 0.1, 0.25), look.hair_colour, outline=False)
        for side in (-1, 1):
            for y0 in (0.26, 0.5):
                x, y, narrow = _turned(look, pose, 0.78 * side, y0)
                pen.fill(ellipse(x, y, 0.2 * narrow, 0.07), look.hair_colour, outline=False)
    elif look.hair == "patched":
        x, y, narrow = _turned(look, pose, 0.42, -0.1)
        pen.fill(ellipse(x, y, 0.46 * narrow, 0.55), look.hair_colour, outline=False)
        x, y, narrow = _turned(look, pose, -0.4, -0.75)
        pen.fill(ellipse(x, y, 0.3 * narrow, 0.2), look.hair_colour, outline=False)


def _glasses(pen: Pen, look: Look, pose: Pose) -> None:
    if look.glasses == "none":
        return
    frame = (30, 28, 34)
    places = [_turned(look, pose, 0.42 * side, 0.08) for side in (-1, 1)]
    power = 2.0 if look.glasses == "round glasses" else 5.0
    for x, y, narrow in places:
        rim = ellipse(x, y, 0.37 * narrow, 0.36 if power == 2 else 0.31, power)
        if look.glasses == "sunglasses":
            pen.fill(rim, frame)
        else:
            pen.line(np.concatenate([rim, rim[:1]]), 0.085, frame)
    (left, y, left_narrow), (right, _, right_narrow) = places
    pen.line([(left + 0.37 * left_narrow, y), (right - 0.37 * right_narrow, y)], 0.085, frame)


def _hat(pen: Pen, look: Look, pose: Pose) -> None:
    if look.hat == "none":
        return
    half_width, half_height, *_ = FACES[look.face]
    y = _turned(look, pose, 0.0, -0.58)[1]
    shift = 0.3 * half_width * math.sin(pose.yaw)
    width = half_width * 1.12
    crown = arc(0, y, width, half_height * 0.78, 180, 360)
    if look.hat == "cap":
        pen.fill(crown, (206, 40, 48))
        pen.fill(ellipse(1.6 * shift, y + 0.02, 0.78, 0.19), (150, 24, 34))
    elif look.hat == "beanie":
        pen.fill(crown, (50, 110, 200))
        pen.fill(ellipse(0, y - 0.04, width * 1.02, 0.19, 4), (240, 240, 245))
        pen.fill(ellipse(0, y - half_height * 0.82, 0.22, 0.22), (240, 240, 245))
    elif look.hat == "straw hat":
        pen.fill(ellipse(0, y, width * 1.5, 0.25), (226, 190, 110))
        pen.fill(arc(0, y, width * 0.86, half_height * 0.72, 180, 360), (238, 206, 130))
        pen.fill(box(-width * 0.85, y - 0.2, width * 0.85, y - 0.02), (150, 90, 50), outline=False)
    elif look.hat == "top hat":
        pen.fill(box(-width * 0.74, y - 0.92, width * 0.74, y), (38, 34, 44))
        pen.fill(box(-width * 0.74, y - 0.26, width * 0.74, y - 0.05), (120, 40, 130), outline=False)
        pen.fill(ellipse(0, y, width * 1.16, 0.16), (38, 34, 44))
    elif look.hat == "crown":
        teeth = [(-0.8, -0.72), (-0.4, -0.34), (0.0, -0.78), (0.4, -0.34), (0.8, -0.72)]
        points = [(-0.82, 0.06)] + teeth + [(0.82, 0.06)]
        pen.fill(np.array([(half_width * px, y + py) for px, py in points]), (250, 200, 50))
        pen.fill(ellipse(shift, y - 0.14, 0.1, 0.1), (210, 40, 70))
