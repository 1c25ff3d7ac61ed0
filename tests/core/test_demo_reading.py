"""What looks at the demo world's pictures: head crops, readings, and the face detector's maps."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from drawn import SIZE, SOMEBODY, every_noun, seeded, somebody, still

from demo import world
from demo.appearance import COLOURS, KINDS, NOUNS
from demo.characters import Look
from demo.reader import CROP, PLACE_NAMES, AttributeReader, Reading, head_crops, read, shows_shirt, similarity
from demo.stages.detector import crowd, seen, target
from vcd_core.vision import DrawnFaceDetector, Face
from vcd_core.vision.drawn_faces import STRIDE, _faces


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
            assert similarity(SOMEBODY, reading) == 0
            continue
        assert reading.look.noun in NOUNS
        assert {field.name for field in fields(Look)} == {"noun", *KINDS, *COLOURS}
        assert all(getattr(reading.look, name) in kinds for name, kinds in KINDS.items())
        values = [value for name in COLOURS for value in getattr(reading.look, name)]
        assert all(isinstance(value, int) and 0 <= value <= 255 for value in values)
        assert 0 <= similarity(SOMEBODY, reading) <= 1
    assert [reading.look for reading in read(reader, DrawnFaceDetector(), images)] == [None] * 3


def test_a_shirt_out_of_the_picture_is_not_asked_for():
    dressed = replace(SOMEBODY, shirt=(0, 0, 0), pattern="plain")
    other = replace(dressed, shirt=(255, 255, 255), pattern="striped")
    assert similarity(dressed, Reading(other, shirt=False, place="on the moon")) == 1
    assert similarity(dressed, Reading(other, shirt=True, place="on the moon")) < 1
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
