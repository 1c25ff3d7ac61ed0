"""The demo world: people, robots and cats in ten places, drawn from a seed, with everything about them known.

A `Look` (demo.characters) is who somebody is, a `Shot` how one picture of them is taken, a `Clip` a shot that moves.
`render` draws; `caption` tells what is to be seen. Everything comes from the generator that is passed in.
"""

import math
import re
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .characters import FACES, FEET, Look, Pose, draw_character
from .drawing import Colour, Pen, box
from .places import PLACES, View

SIZE = 128
NOUNS = ("woman", "man", "robot", "cat")
STYLES = ("soft", "ink")

SKIN_OF = {
    "woman": {"pale": (252, 224, 206), "tan": (226, 172, 124), "brown": (160, 102, 66), "dark": (98, 62, 46)},
    "robot": {"silver": (190, 200, 212), "copper": (204, 120, 78), "mint": (146, 216, 188), "lilac": (192, 164, 228)},
    "cat": {"white": (244, 242, 238), "orange": (236, 150, 72), "grey": (146, 148, 158), "black": (66, 60, 68)},
}
SKIN_OF["man"] = SKIN_OF["woman"]
SURFACE = {"woman": "skin", "man": "skin", "robot": "metal", "cat": "fur"}
EYES = {
    "brown": (112, 66, 34), "blue": (48, 120, 226), "green": (46, 160, 78), "amber": (242, 170, 40),
    "violet": (152, 78, 212),
}  # fmt: skip
HAIR = {
    "black": (38, 32, 38), "brown": (106, 64, 38), "blonde": (238, 204, 110), "red": (198, 78, 36),
    "white": (236, 236, 232), "pink": (242, 120, 172), "blue": (62, 92, 204),
}  # fmt: skip
SHIRT = {
    "red": (208, 44, 52), "orange": (242, 140, 40), "yellow": (248, 212, 60), "green": (52, 156, 80),
    "blue": (46, 96, 200), "purple": (130, 70, 172), "pink": (244, 150, 186), "white": (242, 242, 240),
    "black": (44, 42, 50),
}  # fmt: skip
COLOUR_JITTER = 8  # of each channel, about the named colour

HAIR_OF = {
    "woman": ("long", "bob", "bun", "ponytail", "curly", "braids"),
    "man": ("short", "curly", "mohawk", "bald", "long"),
    "robot": ("antenna", "two antennas", "fin"),
    "cat": ("plain", "tabby", "patched"),
}
HAIR_PHRASES = {
    "long": "long {} hair", "bob": "{} bob hair", "bun": "a {} hair bun", "ponytail": "a {} ponytail",
    "curly": "curly {} hair", "braids": "{} braids", "short": "short {} hair", "mohawk": "a {} mohawk",
    "bald": "a bald head", "antenna": "one {} antenna", "two antennas": "two {} antennas", "fin": "a {} fin",
    "plain": "plain fur", "tabby": "{} tabby stripes", "patched": "{} patches",
}  # fmt: skip
WITHOUT_HAT = ("mohawk", "bun")
BROWS = ("thin", "thick")
GLASSES = ("none", "round glasses", "square glasses", "sunglasses")
HATS = ("none", "cap", "beanie", "straw hat", "top hat", "crown")
BEARDS = ("none", "moustache", "full beard")
PATTERNS = ("plain", "striped")

KINDS: dict[str, tuple[str, ...]] = {
    "face": tuple(FACES),
    "brows": (*BROWS, "none"),
    "hair": tuple(HAIR_PHRASES),
    "glasses": GLASSES,
    "hat": HATS,
    "beard": BEARDS,
    "pattern": PATTERNS,
}
"""The attributes that are one of several kinds."""
COLOURS: dict[str, dict[str, Colour]] = {
    "skin": {name: rgb for noun in ("woman", "robot", "cat") for name, rgb in SKIN_OF[noun].items()},
    "eyes": EYES,
    "hair_colour": HAIR,
    "shirt": SHIRT,
}
"""The attributes that are colours: a name for each region of the colours."""

FRAMINGS = {  # opening words, unit per picture size, where the head is (x about the middle, y)
    "far": ("a far away photo of", (0.09, 0.12), 0.3, None),
    "full": ("a full body photo of", (0.16, 0.183), 0.2, None),
    "half": ("a half body photo of", (0.25, 0.3), 0.14, (0.38, 0.45)),
    "portrait": ("a portrait of", (0.32, 0.38), 0.1, (0.45, 0.53)),
    "close": ("a close up photo of", (0.41, 0.48), 0.06, (0.5, 0.56)),
}
FRAMING_ODDS = {"far": 0.08, "full": 0.3, "half": 0.24, "portrait": 0.22, "close": 0.16}
DETAIL = "a zoomed in photo of"
LANDMARKS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
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


# ---------------------------------------------------------------- who


def random_look(rng: np.random.Generator, noun: str | None = None, held_out: bool = False) -> Look:
    """Somebody, of the combinations kept for training or of those held out from it."""
    while True:
        look = _any_look(rng, noun or NOUNS[rng.choice(4, p=(0.34, 0.34, 0.14, 0.18))])
        if is_held_out(look) == held_out:
            return look


def is_held_out(look: Look) -> bool:
    """One in eight combinations of hair, its colour, skin, shirt and glasses, as far as seen, is never trained on."""
    shown = attributes(look)
    colours = [colour_name(name, look) for name in ("hair_colour", "skin", "shirt") if name in shown]
    return zlib.crc32(" ".join([look.noun, look.hair, look.glasses, *colours]).encode()) % 8 == 0


def _any_look(rng: np.random.Generator, noun: str) -> Look:
    def one(options):
        return options[rng.integers(len(options))]

    def colour(palette):
        centre = np.array(palette[one(list(palette))])
        return tuple(int(value) for value in centre + rng.integers(-COLOUR_JITTER, COLOUR_JITTER + 1, 3))

    human = noun in ("woman", "man")
    hair = one(HAIR_OF[noun])
    return Look(
        noun=noun,
        face=one(list(FACES)),
        brows=one(BROWS) if human else "none",
        hair=hair,
        glasses=one(GLASSES),
        hat="none" if noun == "robot" or hair in WITHOUT_HAT or rng.random() < 0.25 else one(HATS),
        beard=one(BEARDS) if noun == "man" else "none",
        pattern=one(PATTERNS),
        skin=colour(SKIN_OF[noun]),
        eyes=colour(EYES),
        hair_colour=colour(HAIR),
        shirt=colour(SHIRT),
    )


def colour_name(attribute: str, look: Look) -> str:
    """What captions call a colour of theirs."""
    return nearest_colour(attribute, look.noun, getattr(look, attribute))


def nearest_colour(attribute: str, noun: str, rgb: Sequence[float]) -> str:
    """The nearest named colour, for skin among those of the noun."""
    palette = SKIN_OF[noun] if attribute == "skin" else COLOURS[attribute]
    return min(palette, key=lambda name: sum((a - b) ** 2 for a, b in zip(rgb, palette[name], strict=True)))


def attributes(look: Look) -> list[str]:
    """The attributes that can be seen on them: no brows on a cat, no eye colour behind sunglasses."""
    hidden = set()
    if look.noun not in ("woman", "man"):
        hidden.add("brows")
    if look.noun != "man":
        hidden.add("beard")
    if look.noun == "robot":
        hidden.add("hat")
    if look.glasses == "sunglasses":
        hidden.add("eyes")
    if look.hair == "plain" or (look.hair == "bald" and look.beard == "none"):
        hidden.add("hair_colour")
    return [name for name in (*KINDS, *COLOURS) if name not in hidden]


def same(attribute: str, true: Look, seen: Look) -> bool:
    """Whether an attribute was read right; a colour when it has the right name."""
    if attribute not in COLOURS:
        return getattr(true, attribute) == getattr(seen, attribute)
    return colour_name(attribute, true) == nearest_colour(attribute, true.noun, getattr(seen, attribute))


def colour_range(attribute: str) -> float:
    """The largest distance between two named colours of an attribute, in RGB."""
    values = np.array(list(COLOURS[attribute].values()), float)
    return float(np.linalg.norm(values[:, None] - values[None], axis=-1).max())


def similarity(true: Look, seen: Look, hidden: Collection[str] = ()) -> float:
    """Mean over the attributes of `true`: 0 or 1 for a kind, 1 - distance / range for a colour, never below 0."""
    scores = []
    for name in attributes(true):
        if name in hidden:
            continue
        if name in KINDS:
            scores.append(float(getattr(true, name) == getattr(seen, name)))
        else:
            distance = np.linalg.norm(np.subtract(getattr(true, name), getattr(seen, name)))
            scores.append(max(0.0, 1 - float(distance) / colour_range(name)))
    return float(np.mean(scores))


# ---------------------------------------------------------------- where and how


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


# ---------------------------------------------------------------- in words


def phrases(look: Look) -> dict[str, str]:
    """What a caption says of each part of them."""
    said = {
        "skin": f"{colour_name('skin', look)} {SURFACE[look.noun]}",
        "face": _a(f"{look.face} face"),
        "eyes": f"{colour_name('eyes', look)} eyes",
        "hair": HAIR_PHRASES[look.hair].format(colour_name("hair_colour", look)),
        "glasses": look.glasses if look.glasses != "none" else "no glasses",
        "shirt": f"a {look.pattern} {colour_name('shirt', look)} shirt",
    }
    if look.noun in ("woman", "man"):
        said["brows"] = f"{look.brows} brows"
    if look.noun != "robot":
        said["hat"] = "no hat" if look.hat == "none" else f"a {look.hat}"
    if look.noun == "man":
        said["beard"] = "no beard" if look.beard == "none" else f"a {colour_name('hair_colour', look)} {look.beard}"
    if look.glasses == "sunglasses":
        del said["eyes"]
    return said


def caption(look: Look, shot: Shot) -> str:
    """Everything: framing, who, what they do, where."""
    return sentence(opening(shot), look.noun, list(phrases(look).values()), shot)


def opening(shot: Shot) -> str:
    return DETAIL if shot.framing == "detail" else FRAMINGS[shot.framing][0]


def sentence(start: str, noun: str, said: list[str], shot: Shot, before: bool = False) -> str:
    """`start` a `noun` with what is said of them, doing something somewhere; or with what is said before the noun."""
    where = " ".join(part for part in (ACTIONS[shot.action], shot.place) if part)
    if not said:
        return f"{start} a {noun} {where}"
    if before:
        return f"{start} {', '.join(map(without_article, said))} {noun}, {where}"
    return f"{start} a {noun} with {', '.join(said)}, {where}"


def without_article(phrase: str) -> str:
    return re.sub("^an? ", "", phrase)


def _a(words: str) -> str:
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def random_caption(rng: np.random.Generator, look: Look, shot: Shot, acting: float = 0.6) -> str:
    """What people would say of the picture: sometimes everything, sometimes little, in no fixed order.

    Args:
        acting: how often what they do is said.
    """
    said = list(phrases(look).values())
    if rng.random() < 0.12:
        said = []
    else:
        keep = rng.choice((1.0, 0.85, 0.5), p=(0.4, 0.4, 0.2))
        said = [said[index] for index in rng.permutation(len(said)) if rng.random() < keep]
    start = opening(shot) if rng.random() < 0.5 else "a photo of"
    if rng.random() < 1 - acting:
        shot = replace(shot, action="stand")
    words = sentence(start, look.noun, said, shot, before=rng.random() < 0.4)
    return words if rng.random() < 0.9 else words.replace(f" {shot.place}", "").rstrip(",")
