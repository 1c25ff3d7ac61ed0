"""What the demo world says of its pictures: true, complete where it is to be, and in words that the model knows."""

import functools
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from drawn import every_noun, names_of, seeded, somebody, still

from demo import captions, world
from demo.appearance import COLOURS, attributes, random_look
from demo.characters import Look
from demo.measure import PROMPTS
from demo.places import PLACES
from demo.run import CLIPS
from demo.shots import ACTIONS, FRAMINGS, Shot, random_shot
from demo.stages.text import vocabulary
from vcd_core.standalone.config import PROMPT_LENGTH
from vcd_core.standalone.tokenizer import clip_tokenizer

ROOT = Path(__file__).parents[2]


@functools.cache
def tokens(words: str) -> int:
    return len(clip_tokenizer()(words, add_special_tokens=False).input_ids)


@every_noun
def test_the_longest_caption_fits_into_a_prompt(noun):
    rng = seeded(3)
    looks = [random_look(rng, noun) for _ in range(400)]
    said: dict[str, set[str]] = {}
    for look in looks:
        for part, phrase in captions.phrases(look).items():
            said.setdefault(part, set()).add(phrase)
    longest = [max(sorted(phrases), key=tokens) for phrases in said.values()]
    framing, action, place = (max(sorted(all_), key=tokens) for all_ in (FRAMINGS, ACTIONS, PLACES))
    shot = still(0, framing, action=max(ACTIONS, key=lambda name: tokens(ACTIONS[name])), place=place)
    start = max((captions.opening(replace(shot, framing=name)) for name in (*FRAMINGS, "detail")), key=tokens)
    assert tokens(captions.sentence(start, noun, longest, shot)) <= PROMPT_LENGTH - 2
    assert max(tokens(captions.caption(look, shot)) for look in looks[:50]) <= PROMPT_LENGTH - 2


def test_the_model_has_been_taught_every_word_that_the_demo_says():
    rng = seeded(5)
    scenes = [world.random_scene(rng) for _ in range(400)]
    said = [captions.random_caption(rng, scene.look, scene.shot) for scene in scenes]
    said += [captions.caption(scene.look, scene.shot) for scene in scenes]
    said += [*PROMPTS, *CLIPS.values()]
    (prompt,) = [
        node["inputs"]["string"]
        for node in json.loads((ROOT / "workflows/api/demo_t2v.json").read_text(encoding="utf-8")).values()
        if node["class_type"] == "StringReplace"
    ]
    said = " ".join([*said, prompt])
    said = said.replace("SUBJECT", "").replace("{}", "")
    assert set(clip_tokenizer()(said, add_special_tokens=False, verbose=False).input_ids) <= set(vocabulary())


# Four who are written out by hand: sunglasses hide the eyes, a bald man's hair colour is his beard's, and so on.
WRITTEN = [
    (
        Look(
            *("woman", "oval", "thin", "bob", "sunglasses", "straw hat", "none", "striped"),
            skin=(252, 224, 206), eyes=(48, 120, 226), hair_colour=(198, 78, 36), shirt=(52, 156, 80),
        ),
        ("portrait", "walk", "on a beach"),
        "a portrait of a woman with pale skin, an oval face, red bob hair, sunglasses, a striped green shirt, "
        "thin brows, a straw hat, walking on a beach",
    ),
    (
        Look(
            *("man", "square", "thick", "bald", "none", "none", "full beard", "plain"),
            skin=(98, 62, 46), eyes=(112, 66, 34), hair_colour=(236, 236, 232), shirt=(248, 212, 60),
        ),
        ("far", "stand", "in a library"),
        "a far away photo of a man with dark skin, a square face, brown eyes, a bald head, no glasses, a plain yellow "
        "shirt, thick brows, no hat, a white full beard, in a library",
    ),
    (
        Look(
            *("robot", "round", "none", "two antennas", "round glasses", "none", "none", "plain"),
            skin=(204, 120, 78), eyes=(152, 78, 212), hair_colour=(62, 92, 204), shirt=(242, 140, 40),
        ),
        ("detail", "nod", "on the moon"),
        "a zoomed in photo of a robot with copper metal, a round face, violet eyes, two blue antennas, round glasses, "
        "a plain orange shirt, nodding on the moon",
    ),
    (
        Look(
            *("cat", "round", "none", "tabby", "square glasses", "crown", "none", "striped"),
            skin=(146, 148, 158), eyes=(242, 170, 40), hair_colour=(38, 32, 38), shirt=(130, 70, 172),
        ),
        ("full", "drift", "in a flower meadow"),
        "a full body photo of a cat with grey fur, a round face, amber eyes, black tabby stripes, square glasses, a "
        "striped purple shirt, a crown, as the camera drifts in a flower meadow",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("look", "shot", "expected"), WRITTEN, ids=[look.noun for look, *_ in WRITTEN])
def test_a_caption_word_by_word(look, shot, expected):
    framing, action, place = shot
    assert captions.caption(look, replace(still(0), framing=framing, action=action, place=place)) == expected


def test_shorter_captions_word_by_word():
    shot = still(0, action="wave", place="in a library")
    said = ["pale skin", "an oval face", "a plain red shirt"]
    assert captions.sentence("a photo of", "man", [], shot) == "a photo of a man waving in a library"
    assert (
        captions.sentence("a photo of", "man", said, shot, before=True)
        == "a photo of pale skin, oval face, plain red shirt man, waving in a library"
    )


# What each phrase of a caption tells, without its article; the first that fits.
TELLING = [
    r"(?P<hair>plain) fur",
    r"(?P<hair>long|curly|short) (?P<hair_colour>\w+) hair",
    r"(?P<hair_colour>\w+) (?P<hair>bob) hair",
    r"(?P<hair_colour>\w+) hair (?P<hair>bun)",
    r"(?P<hair_colour>\w+) (?P<hair>ponytail|braids|mohawk|fin)",
    r"(?P<hair>bald) head",
    r"one (?P<hair_colour>\w+) (?P<hair>antenna)",
    r"(?P<two>two) (?P<hair_colour>\w+) (?P<hair>antennas)",
    r"(?P<hair_colour>\w+) (?P<hair>tabby) stripes",
    r"(?P<hair_colour>\w+) (?P<patches>patches)",
    r"(?P<hair_colour>\w+) (?P<beard>moustache|full beard)",
    r"(?P<face>\w+) face",
    r"(?P<eyes>\w+) eyes",
    r"(?P<brows>thin|thick) brows",
    r"(?P<pattern>plain|striped) (?P<shirt>\w+) shirt",
    r"(?P<glasses>round glasses|square glasses|sunglasses)",
    r"(?P<hat>cap|beanie|straw hat|top hat|crown)",
    r"no (?P<nothing>glasses|hat|beard)",
    r"(?P<skin>\w+) (?P<surface>skin|metal|fur)",
]
SURFACES = {"woman": "skin", "man": "skin", "robot": "metal", "cat": "fur"}


def told(phrases: list[str], noun: str) -> dict[str, str]:
    """Every attribute that is spoken of: its kind, or the name of its colour."""
    facts: dict[str, str] = {}
    for phrase in phrases:
        plain = re.sub("^an? ", "", phrase)
        match = next(match for pattern in TELLING if (match := re.fullmatch(pattern, plain)))
        found = {name: value for name, value in match.groupdict().items() if value}
        if "nothing" in found:
            found = {found["nothing"]: "none"}
        if found.pop("two", None):
            found["hair"] = "two antennas"
        if found.pop("patches", None):
            found["hair"] = "patched"
        assert found.pop("surface", SURFACES[noun]) == SURFACES[noun], phrase
        assert all(facts.get(name, value) == value for name, value in found.items()), phrases
        facts |= found
    return facts


def is_true(look: Look, name: str, value: str) -> bool:
    return names_of(name, look) == [value] if name in COLOURS else getattr(look, name) == value


def claims(words: str, shot: Shot, noun: str) -> list[str]:
    """What a caption says of the person, once everything else that is true has been taken away."""
    start = max((one for one in ("a photo of", captions.opening(shot)) if words.startswith(one)), key=len)
    rest = words.removeprefix(start).removesuffix(shot.place).rstrip(", ").removesuffix(ACTIONS[shot.action])
    rest = rest.strip(", ")
    if rest == f"a {noun}":
        return []
    if rest.startswith(f"a {noun} with "):
        rest = rest.removeprefix(f"a {noun} with ")
    else:
        assert rest.endswith(f" {noun}"), words
        rest = rest.removesuffix(f" {noun}")
    return rest.split(", ")


def test_a_caption_says_nothing_that_is_false():
    lengths = Counter()
    for seed in range(400):
        rng = seeded(seed)
        look, shot = random_look(rng), random_shot(rng)
        for words in (captions.random_caption(rng, look, shot), captions.caption(look, shot)):
            said = claims(words, shot, look.noun)
            facts = told(said, look.noun)
            assert all(is_true(look, name, value) for name, value in facts.items()), (words, look)
            assert set(facts) <= set(attributes(look)), words  # nothing that cannot be seen
            assert len(set(said)) == len(said), words
            assert not words.endswith((",", " ")), words
            lengths[len(said)] += 1
    assert set(range(9)) <= set(lengths)  # sometimes everything, sometimes nothing


def test_a_full_caption_tells_every_attribute():
    for seed in range(400):
        look, shot = somebody(seed), still(0)
        facts = told(claims(captions.caption(look, shot), shot, look.noun), look.noun)
        assert set(facts) == set(attributes(look)), look
