"""What is said of pictures of the demo world."""

import re
from dataclasses import replace

import numpy as np

from .appearance import HAIR_PHRASES, colour_name
from .characters import Look
from .shots import ACTIONS, DETAIL, FRAMINGS, Shot

SURFACE = {"woman": "skin", "man": "skin", "robot": "metal", "cat": "fur"}


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
