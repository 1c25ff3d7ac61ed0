"""What those of the demo world can look like: kinds, named colours, somebody at random, and who is like whom."""

import zlib
from collections.abc import Collection, Sequence

import numpy as np

from .characters import FACES, Look
from .drawing import Colour

NOUNS = ("woman", "man", "robot", "cat")

SKIN_OF = {
    "woman": {"pale": (252, 224, 206), "tan": (226, 172, 124), "brown": (160, 102, 66), "dark": (98, 62, 46)},
    "robot": {"silver": (190, 200, 212), "copper": (204, 120, 78), "mint": (146, 216, 188), "lilac": (192, 164, 228)},
    "cat": {"white": (244, 242, 238), "orange": (236, 150, 72), "grey": (146, 148, 158), "black": (66, 60, 68)},
}
SKIN_OF["man"] = SKIN_OF["woman"]
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
