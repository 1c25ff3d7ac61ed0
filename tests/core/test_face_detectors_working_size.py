"""Faces are where they are in the picture, at whatever size it is looked at; and what others have found."""

import sys

import pytest
import torch

from vcd_core.vision import AtWorkingSize, Face, Finding, GivenBoxes, GivenMasks, NamedFaces


class SeesWhite:
    """Takes what is white in a picture for a face, whose landmarks are the corners and the middle of its box."""

    def __init__(self):
        self.seen = []

    def detect(self, images):
        self.seen.append(tuple(images.shape))
        assert images.shape[1] == 3
        assert 0 <= images.min() <= images.max() <= 1
        return [[self.face(image)] if (image > 0.5).all(0).any() else [] for image in images]

    def face(self, image):
        rows, columns = (image > 0.5).all(0).nonzero(as_tuple=True)
        x0, y0, x1, y1 = (float(edge) for edge in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
        points = [(x0, y0), (x1, y0), ((x0 + x1) / 2, (y0 + y1) / 2), (x0, y1), (x1, y1)]
        return Face((x0, y0, x1, y1), 0.75, torch.tensor(points), torch.tensor([0.6, 0.8]))


def picture(height, width, box=None):
    image = torch.zeros(3, height, width)
    if box:
        x0, y0, x1, y1 = box
        image[:, y0:y1, x0:x1] = 1
    return image


SIZES = [(96, 160), (160, 96), (97, 131), (480, 640), (33, 65)]


@pytest.mark.parametrize("working_size", [64, 100, 333, 700])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_working_size_does_not_change_where_a_face_is(height, width, working_size):
    box = (width // 4, height // 8, width // 4 + width // 3, height // 8 + height // 2)
    watcher = SeesWhite()
    ((face,),) = AtWorkingSize(watcher, working_size).detect(picture(height, width, box)[None])
    ((_, _, seen_height, seen_width),) = watcher.seen
    assert max(seen_height, seen_width) == working_size
    assert seen_height / seen_width == pytest.approx(height / width, abs=1 / min(seen_height, seen_width))
    pixel = max(1, max(height, width) / working_size)  # of the coarser of the two grids
    assert face.box == pytest.approx(box, abs=pixel)
    x0, y0, x1, y1 = face.box
    corners = torch.tensor([(x0, y0), (x1, y0), ((x0 + x1) / 2, (y0 + y1) / 2), (x0, y1), (x1, y1)])
    torch.testing.assert_close(face.landmarks, corners)
    assert face.score == 0.75
    assert face.embedding.tolist() == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize(("height", "width"), [*SIZES, (10, 100), (700, 9)])
def test_what_fills_the_picture_that_is_seen_fills_the_picture(height, width):
    """Exactly, although the sides that are seen are whole numbers of pixels."""
    ((face,),) = AtWorkingSize(SeesWhite(), 64).detect(torch.ones(1, 3, height, width))
    assert face.box == pytest.approx((0, 0, width, height))


def test_a_clip_is_looked_at_a_few_frames_at_a_time_and_stays_in_order():
    boxes = [(i, 2 * i, i + 10, 2 * i + 10) if i % 3 else None for i in range(21)]
    clip = torch.stack([picture(64, 64, box) for box in boxes])
    watcher = SeesWhite()
    detector = AtWorkingSize(watcher, 64)
    found = detector.detect(clip)
    assert [faces[0].box if faces else None for faces in found] == boxes
    assert max(shape[0] for shape in watcher.seen) <= 8
    assert [faces[0].box for faces in detector.detect(clip[4:6])] == boxes[4:6]
    assert detector.detect(clip[:0]) == []


def test_grey_pictures_are_looked_at_and_alpha_is_left_out():
    image = picture(40, 60, (10, 10, 30, 30))
    detector = AtWorkingSize(SeesWhite(), 60)
    ((face,),) = detector.detect(image[None])
    for other in (image[None, :1], torch.cat([image, torch.zeros(1, 40, 60)])[None]):
        assert detector.detect(other)[0][0].box == face.box
    ((face,),) = detector.detect(image[None].half() * 3 - 1)
    assert face.box == (10, 10, 30, 30)


@pytest.mark.parametrize("shape", [(3, 40, 60), (1, 40, 60, 3), (1, 2, 40, 60), (1, 3, 0, 60), (40, 60)])
def test_what_is_no_batch_of_pictures_is_refused(shape):
    with pytest.raises(ValueError, match=r"must be \(F, 3, H, W\), channels second"):
        AtWorkingSize(SeesWhite(), 64).detect(torch.zeros(shape))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 4000), (4000, 3)])
def test_pictures_like_threads_are_looked_at(height, width):
    assert AtWorkingSize(SeesWhite(), 64).detect(torch.zeros(2, 3, height, width)) == [[], []]


def test_a_working_size_without_a_picture_in_it():
    with pytest.raises(ValueError, match="working size must be 32 pixels or more, not 0"):
        AtWorkingSize(SeesWhite(), 0)


# --- words


class NamesColours:
    """A BoxDetector: finds the prompt's colour twice, once a little off."""

    def detect(self, image, prompt, box_threshold, text_threshold):
        assert image.shape[2] == 3
        channel = ("red", "green", "blue").index(prompt)
        rows, columns = (image[:, :, channel] > 0.5).nonzero(as_tuple=True)
        if not len(rows) or box_threshold > 0.6 or text_threshold != 0.25:
            return []
        box = [float(edge) for edge in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)]
        return [Finding((box[0], box[1], box[2] + 1, box[3]), 0.5), Finding(tuple(box), 0.6)]


def test_what_a_prompt_names_is_found_like_faces():
    clip = torch.zeros(3, 3, 30, 40)
    clip[0, 0, 5:15, 20:30] = 1
    clip[2, 1, 5:15, 20:30] = 1
    red, nothing, green = NamedFaces(NamesColours(), "red").detect(clip)
    assert [(face.box, face.score, face.landmarks, face.embedding) for face in red] == [
        ((20, 5, 30, 15), 0.6, None, None)
    ]
    assert nothing == green == []
    assert NamedFaces(NamesColours(), "red", box_threshold=0.7).detect(clip) == [[], [], []]
    assert NamedFaces(NamesColours(), "red").detect(torch.ones(1, 3, 1, 400)) == [[]]


@pytest.mark.parametrize("prompt", ["", " . "])
def test_an_empty_prompt_says_what_to_write(prompt):
    with pytest.raises(ValueError, match="prompt is empty: write what to look for, such as cat head"):
        NamedFaces(NamesColours(), prompt)


# --- boxes and masks of others


def box(x, y, width, height, **more):
    return {"x": x, "y": y, "width": width, "height": height, **more}


CLIP = torch.zeros(3, 3, 60, 80)


def test_boxes_are_taken_as_comfyui_s_nodes_give_them():
    """As MediaPipe Face Landmarker does: a list a frame, in fractions of pixels, which may reach out of the picture."""
    one, two = box(-3.5, 10.25, 20, 30, label="face", score=0.5), box(40, 5, 60, 50, label="face", score=0.75)
    first, second, third = GivenBoxes([[one, two], [], [one]]).detect(CLIP)
    assert [(face.box, face.score) for face in first] == [((40, 5, 100, 55), 0.75), ((-3.5, 10.25, 16.5, 40.25), 0.5)]
    assert second == []
    assert [face.box for face in third] == [(-3.5, 10.25, 16.5, 40.25)]
    assert third[0].landmarks is None
    assert third[0].embedding is None


@pytest.mark.parametrize("boxes", [box(1, 2, 3, 4), [box(1, 2, 3, 4)], [[box(1, 2, 3, 4)]]])
def test_one_box_holds_for_every_frame(boxes):
    assert [[face.box for face in faces] for faces in GivenBoxes(boxes).detect(CLIP)] == [[(1, 2, 4, 6)]] * 3


@pytest.mark.parametrize("boxes", [[], [[]], [[], [], []]])
def test_no_boxes_are_no_faces(boxes):
    assert GivenBoxes(boxes).detect(CLIP) == [[], [], []]


def test_boxes_that_hold_nothing_of_the_picture_are_left_out():
    nothing = [box(5, 5, 0, 9), box(5, 5, -4, 9), box(80, 5, 9, 9), box(5, -9, 9, 9), box(float("nan"), 1, 2, 3)]
    small, large = box(79, 59, 1, 1), box(0, 0, 80, 60)
    found = GivenBoxes([*nothing, small, large]).detect(CLIP)
    assert [[face.box for face in faces] for faces in found] == [[(0, 0, 80, 60), (79, 59, 80, 60)]] * 3


@pytest.mark.parametrize("bad", [{"x": 1, "y": 2}, (1, 2, 3, 4), box("left", 2, 3, 4), box(1, 2, 3, None)])
def test_what_is_no_box_is_named(bad):
    with pytest.raises(ValueError, match="a box needs x, y, width and height in pixels, got"):
        GivenBoxes([[bad], [], []]).detect(CLIP)


def test_every_connected_part_of_a_mask_is_a_face():
    masks = torch.zeros(3, 60, 80)
    masks[0, 10:20, 5:15] = 1
    masks[0, 30:55, 40:70] = 0.6
    masks[0, 55, 70] = 1  # touches the last one at a corner
    masks[0, 0:9, 60:80] = 0.4
    masks[2, 59, 79] = 1
    first, second, third = GivenMasks(masks).detect(CLIP)
    assert [face.box for face in first] == [(40, 30, 71, 56), (5, 10, 15, 20)]
    assert second == []
    assert [face.box for face in third] == [(79, 59, 80, 60)]
    assert [[face.box for face in faces] for faces in GivenMasks(masks[:1]).detect(CLIP)] == [
        [(40, 30, 71, 56), (5, 10, 15, 20)]
    ] * 3
    speckled = (torch.arange(60)[:, None] % 2 + torch.arange(80) % 2 == 0).float()
    assert len(GivenMasks(speckled[None]).detect(CLIP)[0]) <= 16


def test_what_is_given_must_fit_the_clip():
    with pytest.raises(ValueError, match="2 lists of boxes for 3 frames: give one for each frame, or one for all"):
        GivenBoxes([[], [box(1, 2, 3, 4)]]).detect(CLIP)
    with pytest.raises(ValueError, match="2 masks for 3 frames"):
        GivenMasks(torch.zeros(2, 60, 80)).detect(CLIP)
    with pytest.raises(ValueError, match=r"masks are \(3, 80, 60\) and the pictures 80x60"):
        GivenMasks(torch.zeros(3, 80, 60)).detect(CLIP)
    assert GivenMasks(torch.zeros(1, 60, 80)).detect(CLIP[:0]) == []
    assert GivenBoxes([]).detect(CLIP[:0]) == []


def test_masks_need_opencv_and_say_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match="pip install opencv-python-headless"):
        GivenMasks(torch.ones(1, 60, 80)).detect(CLIP)
