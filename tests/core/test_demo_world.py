"""The demo world: what it draws, says and remembers agree."""

import json
import random
from collections import Counter
from dataclasses import fields, replace
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from demo import world
from demo.characters import Look
from demo.drawing import Pen
from demo.measure import PROMPTS
from demo.people import CAST, NEW_PLACES, PHOTO_PLACES, member, photos
from demo.places import PLACES
from demo.reader import CROP, PLACE_NAMES, AttributeReader, Reading, head_crops, read, shows_shirt
from demo.reader import similarity as similarity_to_reading
from demo.run import CLIPS
from demo.stages.detector import crowd, seen, target
from demo.stages.text import vocabulary
from vcd_core.standalone.config import PROMPT_LENGTH
from vcd_core.standalone.tokenizer import clip_tokenizer
from vcd_core.vision import DrawnFaceDetector, Face
from vcd_core.vision.drawn_faces import STRIDE, _faces

ROOT = Path(__file__).parents[2]
SIZE = world.SIZE
STEADY = [action for action in world.ACTIONS if action != "zoom"]
SMEAR = 3  # pixels: how far the lens' softness and an antialiased edge reach beyond what was drawn

every_motion = pytest.mark.parametrize("motion", world.MOTIONS)
every_noun = pytest.mark.parametrize("noun", world.NOUNS)
every_style = pytest.mark.parametrize("style", world.STYLES)


def seeded(seed: int) -> np.random.Generator:
    return np.random.default_rng((77, seed))


def somebody(seed: int, noun: str | None = None, **changes) -> Look:
    return replace(world.random_look(seeded(seed), noun), **changes)


SOMEBODY = somebody(0)


def still(seed: int, framing: str | None = None, style: str = "soft", **changes) -> world.Shot:
    shot = world.random_clip(seeded(seed), "stand", 1, framing=framing, style=style)[0]
    return replace(shot, **changes)


def place_alone(shot: world.Shot, size: int = SIZE) -> np.ndarray:
    pen = Pen(size, shot.style)
    PLACES[shot.place](pen, shot.view, np.random.default_rng(shot.seed))
    return pen.picture()


def grown(mask: np.ndarray, pixels: int = SMEAR) -> np.ndarray:
    """(H, W) bool: on the subject or this near to it."""
    return cv2.dilate(mask, np.ones((2 * pixels + 1,) * 2, np.uint8)) > 0


# --- chance ---------------------------------------------------------------------------------------------


def test_a_seed_says_everything_and_the_global_generators_nothing():
    def draw_and_tell(seed: int) -> tuple[bytes, str]:
        rng = seeded(seed)
        made = world.draw(world.random_scene(rng, "ink" if seed % 2 else "soft"))
        return made.image.tobytes() + made.mask.tobytes(), world.random_caption(rng, made.look, made.shot)

    first = [draw_and_tell(seed) for seed in range(20)]
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    before = str(np.random.get_state()), random.getstate()  # noqa: NPY002
    assert [draw_and_tell(seed) for seed in range(20)] == first
    assert (str(np.random.get_state()), random.getstate()) == before  # noqa: NPY002
    assert len({image for image, _ in first}) == 20


# --- who ------------------------------------------------------------------------------------------------


def names_of(attribute: str, look: Look) -> list[str]:
    """Every named colour that this one can have been drawn from."""
    palette = world.SKIN_OF[look.noun] if attribute == "skin" else world.COLOURS[attribute]
    distance = {name: np.abs(np.subtract(getattr(look, attribute), rgb)).max() for name, rgb in palette.items()}
    return [name for name in palette if distance[name] <= world.COLOUR_JITTER]


def combination(look: Look) -> str:
    """What decides who is held out: what is to be seen of it."""
    seen = set(world.attributes(look))
    colours = (names_of(name, look) for name in ("hair_colour", "skin", "shirt") if name in seen)
    return str((look.noun, look.hair, look.glasses, *colours))


def test_nobody_of_the_training_has_a_combination_that_is_held_out():
    rng = seeded(0)
    kept, held = ({combination(world.random_look(rng, held_out=way)) for _ in range(1000)} for way in (False, True))
    assert min(len(kept), len(held)) > 500
    assert not kept & held


@every_noun
def test_one_combination_in_eight_is_held_out(noun):
    palettes = (list(palette.values()) for palette in (world.SKIN_OF[noun], world.HAIR, world.SHIRT))
    choices = [world.HAIR_OF[noun], world.GLASSES, *palettes]
    held = [
        world.is_held_out(
            replace(SOMEBODY, noun=noun, hair=hair, glasses=glasses, skin=skin, hair_colour=dye, shirt=shirt)
        )
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
        assert world.is_held_out(member(name))
        shown = list(photos(member(name)))
        assert len(shown) == 6
        assert {photo.shot.place for photo in shown} == set(PHOTO_PLACES)
    assert not set(PHOTO_PLACES) & set(NEW_PLACES)
    assert all(any(prompt.endswith(place) for place in NEW_PLACES) for prompt in PROMPTS)


def test_a_colour_is_called_by_the_name_that_it_was_drawn_from():
    rng = seeded(2)
    for look in (world.random_look(rng) for _ in range(300)):
        assert all(names_of(name, look) == [world.colour_name(name, look)] for name in world.COLOURS)


def test_attributes_that_cannot_be_seen_change_no_pixel():
    close = still(3, "portrait")
    shades = somebody(3, "woman", glasses="sunglasses")
    cat = somebody(4, "cat", hair="plain")
    for hidden, look, other in [
        ("eyes", shades, replace(shades, eyes=(255, 0, 0))),
        ("hair_colour", cat, replace(cat, hair_colour=(255, 0, 0))),
    ]:
        assert hidden not in world.attributes(look)
        assert np.array_equal(world.render(look, close).image, world.render(other, close).image)


# --- pictures -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(24))
def test_the_mask_covers_the_person_and_nothing_else(seed):
    look, shot = somebody(seed), world.random_shot(seeded(seed))
    made, empty = world.render(look, shot), place_alone(shot)
    differs = (made.image != empty).any(-1)
    assert not (differs & ~grown(made.mask)).any()
    # Here and there somebody wears the colour of what is behind.
    assert differs[made.mask == 255].mean() > 0.9


@every_style
@every_noun
def test_another_colour_changes_pixels_of_the_subject_alone(noun, style):
    shot = still(5, "half", style)
    look = somebody(6, noun, glasses="none", hair=world.HAIR_OF[noun][1], hat="none")
    before = world.render(look, shot)
    for attribute in world.COLOURS:
        after = world.render(replace(look, **{attribute: (255, 0, 255)}), shot)
        assert np.array_equal(after.mask, before.mask)
        changed = (after.image != before.image).any(-1)
        assert changed.any(), attribute
        assert not (changed & ~grown(before.mask)).any(), attribute


@pytest.mark.parametrize("seed", range(16))
def test_eyes_of_the_right_colour_are_at_the_landmarks(seed):
    look = somebody(seed, glasses="none", eyes=(0, 255, 255))  # a colour that nothing else has
    shot = world.random_shot(seeded(seed), framing=("portrait", "close")[seed % 2])
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
        look, shot = somebody(seed), world.random_shot(seeded(seed))
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
    assert all((scene.crop is not None) == (world.opening(scene.shot) == world.DETAIL) for scene in scenes)


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


# --- framings and movements -----------------------------------------------------------------------------


@pytest.mark.parametrize("framing", world.FRAMINGS)
def test_the_framing_that_is_said_is_the_one_that_is_drawn(framing):
    words, (low, high), *_ = world.FRAMINGS[framing]
    for seed in range(12):
        look, action = somebody(seed), STEADY[seed % len(STEADY)]
        shot = world.random_clip(seeded(seed), action, 4, framing=framing)[seed % 4]
        made = world.render(look, shot)
        assert made.caption.startswith(f"{words} a {look.noun} with ")
        x0, y0, x1, y1 = made.face_box
        assert 1.7 * low < np.sqrt((x1 - x0) * (y1 - y0)) / SIZE < 2.4 * high  # a head is two units high, about
        assert made.mask[-1].any() == (framing not in ("far", "full"))  # whose feet are to be seen


def test_no_two_framings_share_a_size():
    ranges = sorted(limits for _, limits, *_ in world.FRAMINGS.values())
    assert all(near[0] > far[1] for far, near in zip(ranges, ranges[1:], strict=False))


def moves(values) -> bool:
    """Whether they rise all the time or fall all the time."""
    steps = np.diff(values)
    return bool((steps > 0).all() or (steps < 0).all())


@every_motion
@pytest.mark.parametrize("seed", range(4))
def test_a_clip_moves_what_its_caption_says_and_nothing_else(motion, seed):
    shots = world.random_clip(seeded(seed), motion, 16, framing="half")
    look = somebody(seed, glasses="none")
    frames = [world.render(look, shot) for shot in shots]
    assert len({frame.image.tobytes() for frame in frames}) == 16
    assert all(world.ACTIONS[motion] in frame.caption for frame in frames)

    boxes = np.array([frame.face_box for frame in frames])
    widths, middles = boxes[:, 2] - boxes[:, 0], (boxes[:, :2] + boxes[:, 2:]) / 2
    nose = np.stack([frame.landmarks[2] for frame in frames]) - middles
    places = [place_alone(shot).tobytes() for shot in shots]
    stands = {"turn", "nod", "wave"}
    assert (len(set(places)) == 1) == (motion in stands | {"walk"})
    assert (np.ptp(middles, 0).max() < 1e-6) == (motion in stands)
    assert (np.ptp(widths) < 1e-6) == (motion != "zoom")
    assert (np.ptp(nose, 0).max() < 1e-6) == (motion in {"walk", "wave", "drift"})
    if motion == "walk":
        assert moves(middles[:, 0])
        assert (np.diff(middles[:, 0])[0] > 0) == (shots[0].pose.yaw > 0)  # looks where she goes
        assert np.ptp([shot.pose.stride for shot in shots]) > 0.5
    elif motion == "zoom":
        assert moves(widths)
    elif motion == "turn":
        assert moves(nose[:, 0])
    elif motion == "nod":
        assert np.ptp(nose[:, 1]) > 0.1 * widths[0]
    elif motion == "wave":
        below = slice(round(boxes[0, 3]) + 30, None)  # the arm is up
        assert all(np.array_equal(frame.image[below], frames[0].image[below]) for frame in frames)
    elif motion == "drift":
        assert moves([shot.view.pan for shot in shots])
        assert len({shot.pose for shot in shots}) == 1
        # She stays where she was, on the nearest ground, while the camera moves on.
        assert np.ptp([shot.x + shot.view.pan * shot.view.zoom for shot in shots]) < 1e-9


def test_one_who_stands_does_not_move():
    shots = world.random_clip(seeded(1), "stand", 16)
    assert len(set(shots)) == 1


# --- words ----------------------------------------------------------------------------------------------


def tokens(words: str) -> int:
    return len(clip_tokenizer()(words, add_special_tokens=False).input_ids)


@every_noun
def test_the_longest_caption_fits_into_a_prompt(noun):
    rng = seeded(3)
    looks = [world.random_look(rng, noun) for _ in range(1500)]
    said: dict[str, set[str]] = {}
    for look in looks:
        for part, phrase in world.phrases(look).items():
            said.setdefault(part, set()).add(phrase)
    longest = [max(sorted(phrases), key=tokens) for phrases in said.values()]
    framing, action, place = (max(sorted(all_), key=tokens) for all_ in (world.FRAMINGS, world.ACTIONS, PLACES))
    shot = still(0, framing, action=max(world.ACTIONS, key=lambda name: tokens(world.ACTIONS[name])), place=place)
    start = max((world.opening(replace(shot, framing=name)) for name in (*world.FRAMINGS, "detail")), key=tokens)
    assert tokens(world.sentence(start, noun, longest, shot)) <= PROMPT_LENGTH - 2
    assert max(tokens(world.caption(look, shot)) for look in looks[:100]) <= PROMPT_LENGTH - 2


def test_the_model_has_been_taught_every_word_that_the_demo_says():
    rng = seeded(5)
    scenes = [world.random_scene(rng) for _ in range(400)]
    said = [world.random_caption(rng, scene.look, scene.shot) for scene in scenes]
    said += [world.caption(scene.look, scene.shot) for scene in scenes]
    said += [*PROMPTS, *CLIPS.values()]
    (prompt,) = [
        node["inputs"]["string"]
        for node in json.loads((ROOT / "workflows/api/demo_t2v.json").read_text(encoding="utf-8")).values()
        if node["class_type"] == "StringReplace"
    ]
    said = " ".join([*said, prompt])
    said = said.replace("SUBJECT", "").replace("{}", "")
    assert set(clip_tokenizer()(said, add_special_tokens=False, verbose=False).input_ids) <= set(vocabulary())


def claims(words: str, shot: world.Shot, noun: str) -> list[str]:
    """What a caption says of the person, once everything else that is true has been taken away."""
    start = max((one for one in ("a photo of", world.opening(shot)) if words.startswith(one)), key=len)
    rest = words.removeprefix(start).removesuffix(shot.place).rstrip(", ").removesuffix(world.ACTIONS[shot.action])
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
    for seed in range(1500):
        rng = seeded(seed)
        look, shot = world.random_look(rng), world.random_shot(rng)
        truths = set(world.phrases(look).values())
        truths |= {phrase.removeprefix("a ").removeprefix("an ") for phrase in truths}
        for words in (world.random_caption(rng, look, shot), world.caption(look, shot)):
            said = claims(words, shot, look.noun)
            assert set(said) <= truths, words
            assert len(set(said)) == len(said), words
            assert not words.endswith((",", " ")), words
            lengths[len(said)] += 1
    assert set(range(9)) <= set(lengths)  # sometimes everything, sometimes nothing


def test_a_full_caption_tells_every_attribute():
    """Whoever has the same caption has the same attributes, colours by their names."""
    told = {}
    for seed in range(1500):
        look = somebody(seed)
        words = world.sentence("", look.noun, list(world.phrases(look).values()), still(0))
        facts = {
            name: world.colour_name(name, look) if name in world.COLOURS else getattr(look, name)
            for name in world.attributes(look)
        }
        assert told.setdefault(words, facts) == facts


# --- likeness -------------------------------------------------------------------------------------------


def other_kind(look: Look, attribute: str) -> Look:
    kinds = world.KINDS[attribute]
    return replace(look, **{attribute: kinds[(kinds.index(getattr(look, attribute)) + 1) % len(kinds)]})


def test_likeness_lies_between_nought_and_one_and_everybody_is_like_themselves():
    rng = seeded(4)
    looks = [world.random_look(rng) for _ in range(60)]
    for one, other in product(looks, looks):
        assert 0 <= world.similarity(one, other) <= 1
    assert all(world.similarity(look, look) == 1 for look in looks)


@every_noun
def test_each_attribute_counts_alike_and_the_hidden_ones_not_at_all(noun):
    look = somebody(11, noun, glasses="round glasses", hair=world.HAIR_OF[noun][1])
    shown = world.attributes(look)
    for attribute in world.KINDS:
        other = other_kind(look, attribute)
        counts = attribute in shown
        assert world.similarity(look, other) == pytest.approx(1 - counts / len(shown))
        assert world.similarity(look, other, (attribute,)) == 1
        if world.attributes(other) == shown:
            assert world.similarity(look, other) == world.similarity(other, look)
    for attribute in world.COLOURS:
        # The two named colours that differ most have nothing in common.
        palette = list(world.COLOURS[attribute].values())
        pair = max(product(palette, palette), key=lambda both: np.linalg.norm(np.subtract(*both)))
        one, other = (replace(look, **{attribute: colour}) for colour in pair)
        assert world.similarity(one, other) == pytest.approx(1 - 1 / len(shown)) == world.similarity(other, one)
        assert world.similarity(one, other, (attribute,)) == 1


# --- what reads pictures --------------------------------------------------------------------------------


def as_batch(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).movedim(-1, 0)[None].float() / 127.5 - 1


@every_noun
def test_a_head_crop_shows_the_same_of_a_head_of_any_size_at_any_place(noun):
    look, shot = somebody(12, noun), still(13, "portrait", roll=0.0, x=0.5, y=0.55, unit=0.32)
    near, far = world.render(look, shot), world.render(look, replace(shot, x=0.43, y=0.4, unit=0.2))

    def crop(made: world.Render, grow: float = 1.0) -> torch.Tensor:
        x0, y0, x1, y1 = made.face_box
        more = np.array([x0 - x1, y0 - y1, x1 - x0, y1 - y0]) * (grow - 1) / 2
        pictures = torch.cat([as_batch(made.image), as_batch(np.repeat(made.mask[..., None], 3, -1))])
        return head_crops(pictures, torch.tensor((np.array(made.face_box) + more)[None]).expand(2, -1))

    (one, mask), (other, _), (wrong, _) = crop(near), crop(far), crop(far, 1.15)
    head = (mask[0] > 0.99) & (torch.arange(CROP) < CROP * 0.75)[:, None]
    assert head.float().mean() > 0.2
    error, control = ((one - each)[:, head].abs().mean() for each in (other, wrong))
    assert error < control / 4


def test_beyond_the_picture_a_head_crop_is_grey():
    crop = head_crops(torch.ones(1, 3, 64, 64), torch.tensor([[50.0, 20.0, 78.0, 48.0]]))[0]
    assert (crop[:, 20:60, :10] > 0.99).all()
    assert (crop[..., -10:] == 0).all()


class Pointer:
    """A detector that sees these boxes, a list for each picture."""

    def __init__(self, *boxes):
        self.boxes = boxes

    def detect(self, images):
        return [[Face(box, 1.0, torch.zeros(5, 2)) for box in boxes] for boxes in self.boxes]


def test_every_reading_is_well_formed():
    torch.manual_seed(0)
    images = torch.rand(3, 3, SIZE, SIZE)
    head, low, reader = (30.0, 30.0, 80.0, 80.0), (30.0, 70.0, 80.0, 125.0), AttributeReader()
    readings = read(reader, Pointer([head, low], [], [low]), images)
    assert [reading.look is not None for reading in readings] == [True, False, True]
    assert [reading.shirt for reading in readings] == [True, False, False]
    for reading in readings:
        assert reading.place in PLACE_NAMES
        if reading.look is None:
            assert similarity_to_reading(SOMEBODY, reading) == 0
            continue
        assert reading.look.noun in world.NOUNS
        assert {field.name for field in fields(Look)} == {"noun", *world.KINDS, *world.COLOURS}
        assert all(getattr(reading.look, name) in kinds for name, kinds in world.KINDS.items())
        values = [value for name in world.COLOURS for value in getattr(reading.look, name)]
        assert all(isinstance(value, int) and 0 <= value <= 255 for value in values)
        assert 0 <= similarity_to_reading(SOMEBODY, reading) <= 1
    assert [reading.look for reading in read(reader, DrawnFaceDetector(), images)] == [None] * 3


def test_a_shirt_out_of_the_picture_is_not_asked_for():
    dressed = replace(SOMEBODY, shirt=(0, 0, 0), pattern="plain")
    other = replace(dressed, shirt=(255, 255, 255), pattern="striped")
    assert similarity_to_reading(dressed, Reading(other, shirt=False, place="on the moon")) == 1
    assert similarity_to_reading(dressed, Reading(other, shirt=True, place="on the moon")) < 1
    for framing, expected in {"full": True, "half": True, "close": False}.items():
        boxes = [world.render(somebody(seed), still(seed, framing)).face_box for seed in range(10)]
        assert {shows_shirt(box, SIZE) for box in boxes} == {expected}


def maps_of(faces: list[world.Render], rows: int, columns: int) -> torch.Tensor:
    """What a detector without faults would answer: (15, rows, columns)."""
    heat, wanted, cells = target(faces, max(rows, columns))
    maps = torch.full((15, *heat.shape), 9.0)  # nonsense wherever there is no face
    maps[0] = torch.logit(torch.from_numpy(heat) * 0.98 + 0.01)
    for numbers, (row, column) in zip(wanted, cells, strict=True):
        assert ((numbers[:2] >= 0) & (numbers[:2] < 1)).all()  # the place within the cell
        maps[1:, row, column] = torch.from_numpy(numbers)
    return maps[:, :rows, :columns]


def expect(found: list[Face], faces: list[world.Render]) -> None:
    assert len(found) == len(faces)
    for face in faces:
        nearest = min(found, key=lambda one: np.abs(np.subtract(one.box, face.face_box)).max())
        assert nearest.box == pytest.approx(face.face_box, abs=1e-3)
        torch.testing.assert_close(nearest.landmarks.double(), torch.tensor(face.landmarks), rtol=0, atol=1e-3)


@pytest.mark.parametrize("seed", range(12))
def test_the_detector_finds_what_it_is_taught(seed):
    """Decoding undoes the targets of the training, for one, two and three people."""
    people = seen(crowd(seeded(seed), held_out=bool(seed % 2)))
    expect(_faces(maps_of(people, SIZE // STRIDE, SIZE // STRIDE), 0.6, 16), people)


@pytest.mark.parametrize(("height", "width"), [(128, 128), (100, 140), (97, 65)])
def test_pictures_of_any_size_are_padded_where_no_box_moves(height, width, monkeypatch):
    rows, columns = -(-height // 32) * 8, -(-width // 32) * 8
    (made,) = world.render_group([(somebody(14), still(15, "half", x=0.3, y=0.3))])
    sizes = []

    def answer(images):
        sizes.append(tuple(images.shape))
        # Its first pixels are those of the picture.
        assert torch.equal(images[0, :, :height, :width], pictures[0])
        return maps_of([made], rows, columns)[None]

    detector = DrawnFaceDetector()
    monkeypatch.setattr(detector, "forward", answer)
    pictures = torch.rand(1, 3, height, width)
    (found,) = detector.detect(pictures, threshold=0.6)
    assert sizes == [(1, 3, STRIDE * rows, STRIDE * columns)]
    expect(found, [made])
