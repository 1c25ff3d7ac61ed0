"""The demo world: what it draws and what it remembers of it agree, and who is like whom."""

import random
from dataclasses import replace
from itertools import product

import cv2
import numpy as np
import pytest
from drawn import SIZE, SOMEBODY, every_noun, every_style, names_of, place_alone, seeded, somebody, still

from demo import captions, world
from demo.appearance import (
    COLOURS,
    GLASSES,
    HAIR,
    HAIR_OF,
    KINDS,
    SHIRT,
    SKIN_OF,
    attributes,
    colour_name,
    is_held_out,
    random_look,
    similarity,
)
from demo.characters import Look
from demo.measure import PROMPTS
from demo.people import CAST, NEW_PLACES, PHOTO_PLACES, member, photos
from demo.shots import DETAIL, random_shot

SMEAR = 3  # pixels: how far the lens' softness and an antialiased edge reach beyond what was drawn


def grown(mask: np.ndarray, pixels: int = SMEAR) -> np.ndarray:
    """(H, W) bool: on the subject or this near to it."""
    return cv2.dilate(mask, np.ones((2 * pixels + 1,) * 2, np.uint8)) > 0


# --- chance ---------------------------------------------------------------------------------------------


def test_a_seed_says_everything_and_the_global_generators_nothing():
    def draw_and_tell(seed: int) -> tuple[bytes, str]:
        rng = seeded(seed)
        made = world.draw(world.random_scene(rng, "ink" if seed % 2 else "soft"))
        return made.image.tobytes() + made.mask.tobytes(), captions.random_caption(rng, made.look, made.shot)

    first = [draw_and_tell(seed) for seed in range(20)]
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    before = str(np.random.get_state()), random.getstate()  # noqa: NPY002
    assert [draw_and_tell(seed) for seed in range(20)] == first
    assert (str(np.random.get_state()), random.getstate()) == before  # noqa: NPY002
    assert len({image for image, _ in first}) == 20


# --- who ------------------------------------------------------------------------------------------------


def combination(look: Look) -> str:
    """What decides who is held out: what is to be seen of it."""
    seen = set(attributes(look))
    colours = (names_of(name, look) for name in ("hair_colour", "skin", "shirt") if name in seen)
    return str((look.noun, look.hair, look.glasses, *colours))


def test_nobody_of_the_training_has_a_combination_that_is_held_out():
    rng = seeded(0)
    # One look in eight is held out, so these take eight times as long to find.
    kept = {combination(random_look(rng)) for _ in range(1500)}
    held = {combination(random_look(rng, held_out=True)) for _ in range(250)}
    assert len(kept) > 1000
    assert len(held) > 200
    assert not kept & held


@every_noun
def test_one_combination_in_eight_is_held_out(noun):
    palettes = (list(palette.values()) for palette in (SKIN_OF[noun], HAIR, SHIRT))
    choices = [HAIR_OF[noun], GLASSES, *palettes]
    held = [
        is_held_out(replace(SOMEBODY, noun=noun, hair=hair, glasses=glasses, skin=skin, hair_colour=dye, shirt=shirt))
        for hair, glasses, skin, dye, shirt in product(*choices)
    ]
    # Five standard errors of a fair draw.
    assert np.mean(held) == pytest.approx(1 / 8, abs=5 * np.sqrt(1 / 8 * 7 / 8 / len(held)))
    # And each of the five can make the difference.
    held = np.reshape(held, [len(options) for options in choices])
    assert all(np.ptp(held.astype(int), axis).any() for axis in range(5))


def test_the_cast_is_held_out_and_is_shown_in_places_of_its_own():
    for name, (noun, _) in CAST.items():
        assert member(name).noun == noun
        assert is_held_out(member(name))
        shown = list(photos(member(name)))
        assert len(shown) == 6
        assert {photo.shot.place for photo in shown} == set(PHOTO_PLACES)
    assert not set(PHOTO_PLACES) & set(NEW_PLACES)
    assert all(any(prompt.endswith(place) for place in NEW_PLACES) for prompt in PROMPTS)


def test_a_colour_is_called_by_the_name_that_it_was_drawn_from():
    rng = seeded(2)
    for look in (random_look(rng) for _ in range(300)):
        assert all(names_of(name, look) == [colour_name(name, look)] for name in COLOURS)


def test_attributes_that_cannot_be_seen_change_no_pixel():
    close = still(3, "portrait")
    shades = somebody(3, "woman", glasses="sunglasses")
    cat = somebody(4, "cat", hair="plain")
    for hidden, look, other in [
        ("eyes", shades, replace(shades, eyes=(255, 0, 0))),
        ("hair_colour", cat, replace(cat, hair_colour=(255, 0, 0))),
    ]:
        assert hidden not in attributes(look)
        assert np.array_equal(world.render(look, close).image, world.render(other, close).image)


# --- pictures -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(24))
def test_the_mask_covers_the_person_and_nothing_else(seed):
    look, shot = somebody(seed), random_shot(seeded(seed))
    made, empty = world.render(look, shot), place_alone(shot)
    differs = (made.image != empty).any(-1)
    assert not (differs & ~grown(made.mask)).any()
    # Here and there somebody wears the colour of what is behind.
    assert differs[made.mask == 255].mean() > 0.9


@every_style
@every_noun
def test_another_colour_changes_pixels_of_the_subject_alone(noun, style):
    shot = still(5, "half", style)
    look = somebody(6, noun, glasses="none", hair=HAIR_OF[noun][1], hat="none")
    before = world.render(look, shot)
    for attribute in COLOURS:
        after = world.render(replace(look, **{attribute: (255, 0, 255)}), shot)
        assert np.array_equal(after.mask, before.mask)
        changed = (after.image != before.image).any(-1)
        assert changed.any(), attribute
        assert not (changed & ~grown(before.mask)).any(), attribute


@pytest.mark.parametrize("seed", range(16))
def test_eyes_of_the_right_colour_are_at_the_landmarks(seed):
    look = somebody(seed, glasses="none", eyes=(0, 255, 255))  # a colour that nothing else has
    shot = random_shot(seeded(seed), framing=("portrait", "close")[seed % 2])
    made = world.render(look, shot, 256)
    cyan = np.abs(made.image.astype(int) - look.eyes).max(-1) < 40
    rows, columns = np.nonzero(cyan)
    # Two discs, each about its landmark: pixels that are nearer to one eye than to the other have it in their middle.
    points = np.stack([columns, rows], 1) + 0.5
    whose = np.linalg.norm(points[:, None] - made.landmarks[None, :2], axis=-1).argmin(1)
    unit = shot.unit * 256
    for eye, landmark in enumerate(made.landmarks[:2]):
        disc = points[whose == eye]
        assert 0.2 * np.pi * (0.19 * unit) ** 2 < len(disc) < 1.4 * np.pi * (0.2 * unit) ** 2
        assert np.linalg.norm(disc.mean(0) - landmark) < 0.06 * unit


def test_the_face_box_is_the_head_and_its_landmarks_lie_in_order():
    for seed in range(40):
        look, shot = somebody(seed), random_shot(seeded(seed))
        x0, y0, x1, y1 = (made := world.render(look, shot)).face_box
        assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((shot.x * SIZE, shot.y * SIZE))
        assert (x1 - x0) / 2 == pytest.approx(shot.unit * SIZE, rel=0.25)  # faces are 0.82 to 1.04 units wide
        left_eye, right_eye, nose, left_mouth, right_mouth = made.landmarks
        assert (made.landmarks > (x0, y0)).all()
        assert (made.landmarks < (x1, y1)).all()
        assert left_eye[0] < nose[0] < right_eye[0]
        assert left_mouth[0] < right_mouth[0]
        assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


@pytest.mark.parametrize("corner", [(0, 0), (SIZE, SIZE), (37, 90)])
def test_a_crop_shows_a_part_of_the_drawing_twice_the_size(corner):
    look, shot = somebody(7), still(8, "portrait")
    part, whole = world.draw(world.Scene(look, shot, corner)), world.render(look, shot, 2 * SIZE)
    x, y = corner
    window = slice(y, y + SIZE), slice(x, x + SIZE)
    assert np.array_equal(part.image, whole.image[window])
    assert np.array_equal(part.mask, whole.mask[window])
    assert part.face_box == pytest.approx(np.subtract(whole.face_box, (x, y, x, y)))
    assert part.landmarks == pytest.approx(whole.landmarks - corner)
    plain = world.draw(world.Scene(look, shot))
    assert np.array_equal(plain.image, world.render(look, shot).image)


def test_a_scene_that_is_a_crop_says_so():
    scenes = [world.random_scene(seeded(seed)) for seed in range(400)]
    assert 20 < sum(scene.crop is not None for scene in scenes) < 90  # 50 are expected
    assert all((scene.crop is not None) == (captions.opening(scene.shot) == DETAIL) for scene in scenes)


def test_of_several_people_each_has_the_pixels_that_nobody_covers():
    """Two who overlap: behind, the first loses what the second covers; drawn alone, each has it all."""
    first, second = still(9, "half", x=0.45), still(9, "half", x=0.6)
    looks = somebody(9), somebody(10)
    behind, before = world.render_group([(looks[0], first), (looks[1], second)])
    assert np.array_equal(before.mask, world.render(looks[1], second).mask)
    alone = world.render(looks[0], first).mask
    covered = before.mask > 127
    assert (alone[covered] > 0).any()
    assert not behind.mask[covered].any()
    assert np.array_equal(behind.mask[~covered], alone[~covered])
    assert np.array_equal(behind.image, before.image)


# --- likeness -------------------------------------------------------------------------------------------


def other_kind(look: Look, attribute: str) -> Look:
    kinds = KINDS[attribute]
    return replace(look, **{attribute: kinds[(kinds.index(getattr(look, attribute)) + 1) % len(kinds)]})


def test_likeness_lies_between_nought_and_one_and_everybody_is_like_themselves():
    rng = seeded(4)
    looks = [random_look(rng) for _ in range(60)]
    for one, other in product(looks, looks):
        assert 0 <= similarity(one, other) <= 1
    assert all(similarity(look, look) == 1 for look in looks)


@every_noun
def test_each_attribute_counts_alike_and_the_hidden_ones_not_at_all(noun):
    look = somebody(11, noun, glasses="round glasses", hair=HAIR_OF[noun][1])
    shown = attributes(look)
    for attribute in KINDS:
        other = other_kind(look, attribute)
        counts = attribute in shown
        assert similarity(look, other) == pytest.approx(1 - counts / len(shown))
        assert similarity(look, other, (attribute,)) == 1
        if attributes(other) == shown:
            assert similarity(look, other) == similarity(other, look)
    for attribute in COLOURS:
        # The two named colours that differ most have nothing in common.
        palette = list(COLOURS[attribute].values())
        pair = max(product(palette, palette), key=lambda both: np.linalg.norm(np.subtract(*both)))
        one, other = (replace(look, **{attribute: colour}) for colour in pair)
        assert similarity(one, other) == pytest.approx(1 - 1 / len(shown)) == similarity(other, one)
        assert similarity(one, other, (attribute,)) == 1
