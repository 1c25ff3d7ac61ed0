"""YuNet through OpenCV's own detector, by a file in its layout that takes red marks for faces."""

import sys

import pytest
import torch
from marker_detectors import CELL, HALF, POINTS, write_yunet

from vcd_core.vision import load_yunet, yunet

HEIGHT, WIDTH = 192, 320


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_yunet(tmp_path_factory.mktemp("yunet") / "face_detection_yunet_2023mar.onnx")


def marked(cells, scale=1, colour=(1.0, 0.0, 0.0), height=HEIGHT, width=WIDTH):
    """A picture with marks on (column, row) of the grid that a picture of the working size has."""
    image = torch.full((3, height * scale, width * scale), 0.5)
    side = CELL * scale
    for column, row in cells:
        area = image[:, row * side : (row + 1) * side, column * side : (column + 1) * side]
        area[:] = torch.tensor(colour)[:, None, None]
    return image


def expected(column, row, scale):
    middle = (torch.tensor([column, row]) + 0.5) * CELL * scale
    reach = HALF * CELL * scale
    return (*(middle - reach).tolist(), *(middle + reach).tolist()), middle + torch.tensor(POINTS) * CELL * scale


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize(("column", "row"), [(15, 5), (0, 0), (39, 23)])
def test_box_and_landmarks_are_in_the_picture_s_pixels(column, row, scale, path):
    """In the middle and at the borders, beyond which boxes may reach."""
    ((face,),) = load_yunet(path, size=WIDTH).detect(marked([(column, row)], scale)[None])
    box, points = expected(column, row, scale)
    assert face.box == pytest.approx(box, abs=1e-3)
    torch.testing.assert_close(face.landmarks, points)
    assert face.score > 0.9
    assert face.embedding is None


@pytest.mark.parametrize("colour", [(0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 1.0, 1.0)])
def test_colours_reach_the_network_as_it_was_trained(colour, path):
    """It takes blue first; only red marks are faces."""
    assert load_yunet(path, size=WIDTH).detect(marked([(9, 9)], colour=colour)[None]) == [[]]


def test_faces_of_a_clip_come_frame_by_frame_and_best_first(path):
    clip = torch.stack([marked([(5, 5), (20, 12)]), marked([]), marked([(30, 8)])])
    pale = torch.tensor([0.98, 0.0, 0.0])[:, None, None]
    clip[0, :, 5 * CELL : 6 * CELL, 5 * CELL : 6 * CELL] = pale
    detector = load_yunet(path, size=WIDTH)
    found = detector.detect(clip)
    assert [[face.box[0] for face in faces] for faces in found] == [
        [expected(20, 12, 1)[0][0], expected(5, 5, 1)[0][0]],
        [],
        [expected(30, 8, 1)[0][0]],
    ]
    assert found[0][1].score == pytest.approx(0.98, abs=0.005)
    for frame, faces in zip(clip, found, strict=True):
        (alone,) = detector.detect(frame[None])
        assert [(face.box, face.score) for face in alone] == [(face.box, face.score) for face in faces]
    assert [len(faces) for faces in load_yunet(path, size=WIDTH, threshold=0.99).detect(clip)] == [1, 0, 1]


def test_clips_of_several_sizes_one_after_the_other(path):
    detector = load_yunet(path, size=WIDTH)
    for height in (192, 97, 320, 192):
        ((face,),) = detector.detect(marked([(15, 5)], height=height)[None])
        assert face.box == pytest.approx(expected(15, 5, 1)[0], abs=1e-3)


@pytest.mark.parametrize("shape", [(0, 3, 64, 64), (2, 3, 1, 1), (1, 3, 3, 700)])
def test_empty_clips_and_odd_sizes(shape, path):
    assert load_yunet(path).detect(torch.zeros(shape)) == [[]] * shape[0]


BAD_FILES = {
    "absent": (lambda path: None, "there is no file yunet.onnx in"),
    "text": (lambda path: path.write_text("not found " * 99), "is damaged or not a YuNet"),
    "another": (lambda path: _foreign(path), "is damaged or not a YuNet"),
}


def _foreign(path):
    from onnx import TensorProto, helper, save

    node = helper.make_node("Relu", ["input"], ["output"])
    shapes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 32, 32]) for name in ("input", "output")]
    graph = helper.make_graph([node], "other", shapes[:1], shapes[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=7), str(path))


@pytest.mark.parametrize("fault", BAD_FILES)
def test_a_bad_file_is_named_with_what_to_do(fault, tmp_path):
    make, message = BAD_FILES[fault]
    make(tmp_path / "yunet.onnx")
    with pytest.raises(ValueError, match=f"{message}.*download face_detection_yunet_2023mar.onnx") as error:
        load_yunet(tmp_path / "yunet.onnx")
    assert str(tmp_path) in str(error.value)


def test_without_opencv_or_with_an_old_one(path, monkeypatch):
    monkeypatch.delattr("cv2.FaceDetectorYN")
    with pytest.raises(ImportError, match=r"OpenCV 4\.5\.4 or newer"):
        load_yunet(path)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match="pip install opencv-python-headless"):
        load_yunet(path)


def test_the_licence_is_told():
    assert "MIT" in yunet.LICENCE
