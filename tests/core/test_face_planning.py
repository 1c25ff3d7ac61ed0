"""From frames to the faces that are meant, and what is said about it."""

import numpy as np
import pytest
import torch

from vcd_core.faces import CropOptions, FaceChoice, FoundFaces, InOrder, find_faces, plan_faces
from vcd_core.faces.planning import BATCH
from vcd_core.vision import Face

CROP = CropOptions(size=64)


class Bright:
    """Finds the bright square in each picture; keeps how many it was shown at once."""

    def __init__(self):
        self.batches = []

    def detect(self, images):
        self.batches.append(len(images))
        return [self.one(image) for image in images]

    def one(self, image):
        rows, columns = (image[0] > 0.9).nonzero(as_tuple=True)
        if not len(rows):
            return []
        box = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        return [Face(tuple(float(side) for side in box), 1.0)]


def clip_of(frames, with_face=lambda t: True, size=20):
    clip = torch.full((frames, 60, 80, 3), 0.4)
    for t in range(frames):
        if with_face(t):
            clip[t, 20 : 20 + size, 10 + t : 10 + size + t] = 1
    return clip


@pytest.mark.parametrize("frames", [1, BATCH, 2 * BATCH + 3])
def test_a_detector_sees_every_frame_once_and_a_few_at_a_time(frames):
    detector, done = Bright(), []
    found = find_faces(iter(clip_of(frames)), detector, done.append)
    assert sum(detector.batches) == frames
    assert max(detector.batches) <= BATCH
    assert done[-1] == frames
    assert found.size == (60, 80)
    assert [faces[0].box for faces in found.faces] == [(10 + t, 20, 30 + t, 40) for t in range(frames)]


def test_faces_that_are_known_need_no_detector():
    known = [[Face((t, 0, t + 20, 20), 1.0)] for t in range(20)]
    assert find_faces(clip_of(20), InOrder(known)).faces == known


def test_a_report_says_what_is_done_and_what_is_not():
    found = find_faces(clip_of(20, lambda t: 2 <= t < 17), Bright())
    plan = plan_faces(found, CROP)
    assert [path.frames for path in plan.paths] == [range(2, 17)]
    assert plan.report[0] == "20 frames; faces in 15 of them; 1 to be drawn anew"
    assert "about 20 pixels, found in 15 of 15 frames" in plan.report[1]

    other = plan_faces(found, CROP, [FaceChoice(index=1)])
    assert not other.paths
    assert other.report[1].startswith("no face to draw anew")
    assert other.report[2].startswith("left alone: the face about")


@pytest.mark.parametrize(
    ("with_face", "size", "said"),
    [
        (lambda t: False, 20, "no face to draw anew"),
        (lambda t: t == 4, 20, "found in 1 of 20 frames only"),
        (lambda t: True, 10, "too small"),
    ],
    ids=["no face", "one frame only", "too small"],
)
def test_a_clip_without_a_face_to_draw_is_no_error(with_face, size, said):
    plan = plan_faces(find_faces(clip_of(20, with_face, size), Bright()), CROP)
    assert not plan.paths
    assert any(said in line for line in plan.report)


def test_no_frames_and_frames_of_several_sizes_are_errors():
    with pytest.raises(ValueError, match="no frames"):
        find_faces([], Bright())
    with pytest.raises(ValueError, match=r"a frame is 80x50 and the ones before 80x60"):
        find_faces([torch.zeros(60, 80, 3), torch.zeros(50, 80, 3)], Bright())


def standing(*embeddings):
    """A clip of several people side by side who do not move, by their embeddings."""
    people = [
        Face((40.0 * number, 0, 40.0 * number + 20, 20), 1.0, embedding=torch.nn.functional.normalize(embedding, dim=0))
        for number, embedding in enumerate(embeddings)
    ]
    return FoundFaces([people] * 10, [], (60, 200))


def test_everybody_meant_has_faces_of_her_own(rng):
    ava, bo, stranger = (torch.randn(64, generator=rng) for _ in range(3))
    references = [embedding.numpy() / float(embedding.norm()) for embedding in (bo, ava)]
    plan = plan_faces(standing(ava, stranger, bo), CROP, [FaceChoice(reference=one) for one in references])
    assert [(path.centres[0, 0], person) for path, person in zip(plan.paths, plan.people, strict=True)] == [
        (pytest.approx(20), 1),
        (pytest.approx(90), 0),
    ]
    assert [path.centres[0, 0] for path in plan.left_alone] == [pytest.approx(50)]
    assert "2 to be drawn anew" in plan.report[0]
    assert [line for line in plan.report if line.startswith("left alone")] == [
        "left alone: the face about (50, 10), frames 0-9, is none of these"
    ]


def test_a_face_that_two_references_mean_belongs_to_the_more_alike(rng):
    ava, other = (torch.nn.functional.normalize(torch.randn(64, generator=rng), dim=0) for _ in range(2))
    near, far = (ava + 0.3 * other).numpy(), (ava + 1.5 * other).numpy()
    people = [FaceChoice(reference=one / float((one**2).sum() ** 0.5)) for one in (far, near)]
    assert plan_faces(standing(ava), CROP, people).people == [1]
    assert plan_faces(standing(ava), CROP, people[::-1]).people == [0]


def test_faces_that_would_hardly_be_enlarged_are_left_alone_where_that_is_asked():
    faces = [Face((10, 10, 30, 30), 1.0), Face((60, 10, 100, 50), 1.0)]
    found = FoundFaces([faces] * 10, [], (60, 120))
    assert len(plan_faces(found, CropOptions(size=64, margin=2.0)).paths) == 2
    plan = plan_faces(found, CropOptions(size=64, margin=2.0, min_enlargement=1.3))  # 64 / 40 and 64 / 80
    assert [path.centres[0, 0] for path in plan.paths] == [pytest.approx(20)]
    assert [path.faces[0, 0] for path in plan.left_alone] == [pytest.approx(80)]
    assert [(track.centre[0], person) for track, person in zip(plan.tracks, plan.people, strict=True)] == [(20, 0)]
    assert "1 to be drawn anew" in plan.report[0]
    assert plan.report[-1] == (
        "left alone: the face about (80, 30), frames 0-9, would be enlarged only 0.8 times, and min_enlargement asks "
        "for 1.3: lower it to draw this face"
    )


@pytest.mark.parametrize(("last", "drawn"), [(40, True), (60, False)])
def test_a_face_that_grows_is_drawn_if_it_is_enlarged_enough_in_the_middle_of_its_frames(last, drawn):
    sides = np.linspace(16, last, 20)
    faces = [[Face((100 - side / 2, 60 - side / 2, 100 + side / 2, 60 + side / 2), 1.0)] for side in sides]
    crop = CropOptions(size=64, margin=2.0, min_enlargement=1.0)  # at the end neither is enlarged, at first both are
    assert bool(plan_faces(FoundFaces(faces, [], (120, 200)), crop).paths) == drawn


def test_people_are_counted_off(rng):
    plan = plan_faces(
        standing(*torch.randn(3, 64, generator=rng)), CROP, [FaceChoice("left to right", n) for n in (1, 0)]
    )
    assert plan.people == [1, 0]
    assert [track.centre[0] for track in plan.tracks] == [10, 50]
