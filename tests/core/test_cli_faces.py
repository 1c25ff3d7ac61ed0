"""The command line on faces: who is drawn by which prompt, and what cannot be done."""

import av
import numpy as np
import pytest
import torch
from PIL import Image

from vcd_core.standalone import clip_commands
from vcd_core.video import read_video, write_video
from vcd_core.vision import Face

pytestmark = pytest.mark.usefixtures("one_thread")


class Corner:
    """Finds one face, always in the same place."""

    def detect(self, images):
        return [[Face((20.0, 16.0, 44.0, 40.0), 0.9)] for _ in images]


class Nobody:
    def detect(self, images):
        return [[] for _ in images]


def face_arguments(files, **changes):
    options = {"--prompt": "a photo of a woman", "--checkpoint": files / "sd15.safetensors"}
    options |= {"--motion-module": files / "motion.safetensors", "--steps": 2, "--size": 64} | changes
    return ["face", "in.mp4", "out.mp4", *(word for pair in options.items() for word in pair)]


@pytest.fixture
def film(tmp_path):
    """Twenty frames of 72x96."""
    return write_video(tmp_path / "in.mp4", torch.rand(20, 9, 12, 3).repeat(1, 8, 8, 1), 8)


@pytest.fixture
def detector(monkeypatch):
    def use(found):
        monkeypatch.setattr(clip_commands, "load_centerface", lambda file: found)

    use(Corner())
    return use


def test_the_faces_of_a_video_are_drawn_anew(vcd, files, film, detector, tmp_path):
    code, out, err = vcd(*face_arguments(files))
    assert code == 0, err
    assert "20 frames; faces in 20 of them; 1 to be drawn anew" in out
    old, new = (torch.stack(list(read_video(tmp_path / name))) for name in ("in.mp4", "out.mp4"))
    assert old.shape == new.shape == (20, 72, 96, 3)
    change = (old - new).abs().mean((0, 3))
    assert change[16:40, 20:44].mean() > 3 * change[60:, :].mean()


def test_a_face_that_is_large_already_is_left_alone_where_that_is_asked(vcd, files, film, detector, tmp_path):
    code, out, err = vcd(*face_arguments(files, **{"--min-enlargement": 99}))
    assert code == 0, err
    assert "times, and min_enlargement asks for 99: lower it" in out
    assert (tmp_path / "out.mp4").read_bytes() == film.read_bytes()


def test_a_video_without_a_face_comes_back_byte_for_byte(vcd, files, film, detector, tmp_path):
    detector(Nobody())
    code, out, err = vcd(*face_arguments(files))
    assert code == 0, err
    assert "no face to draw anew" in out
    assert (tmp_path / "out.mp4").read_bytes() == film.read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--detector": "yunet"}, "add --detector-file"),
        ({"--detector": "words"}, "needs --grounding-dino"),
        ({"--window": 4, "--overlap": 4}, "windows of 4 frames cannot overlap by 4"),
        ({"--margin": 0.5}, "margins must be at least 1"),
        ({"--prompt": "embedding:nobody"}, "there is no folder embeddings"),
    ],
)
def test_what_cannot_be_done_to_a_video_is_said(vcd, files, film, detector, tmp_path, changes, message):
    code, _, err = vcd(*face_arguments(files, **changes))
    assert (code, err.count("\n")) == (2, 1), err
    assert message in err
    assert not (tmp_path / "out.mp4").exists()


def test_strength_zero_and_the_video_itself(vcd, files, film, detector, tmp_path):
    code, out, _ = vcd(*face_arguments(files, **{"--strength": 0}))
    assert code == 0
    assert "strength 0 changes nothing" in out
    assert (tmp_path / "out.mp4").read_bytes() == film.read_bytes()
    arguments = face_arguments(files)
    arguments[2] = "in.mp4"
    code, _, err = vcd(*arguments)
    assert code == 2
    assert "is the video itself" in err


class Two:
    """Finds two, the larger one on the right."""

    def detect(self, images):
        return [[Face((4.0, 20.0, 28.0, 44.0), 0.9), Face((60.0, 20.0, 90.0, 50.0), 0.9)] for _ in images]


def test_each_of_several_prompts_draws_a_face_of_its_own(vcd, files, film, detector, tmp_path, monkeypatch):
    detector(Two())
    shades = {"a pale man": 0.9, "a dark cat": 0.1}

    def painter(model, prompt, *_):
        return lambda clip, mask, noise, strength: torch.full_like(clip, shades["".join(prompt)])

    monkeypatch.setattr(clip_commands, "face_refiner", painter)
    for faces, left, right in (("left to right", 0.9, 0.1), ("largest first", 0.1, 0.9)):
        arguments = face_arguments(files, **{"--faces": faces, "--prompt": "a pale man"})
        code, out, err = vcd(*arguments, "--prompt", "a dark cat")
        assert code == 0, err
        assert "person 2, about" in out
        clip = torch.stack(list(read_video(tmp_path / "out.mp4")))
        assert clip[:, 28:36, 12:20].mean() == pytest.approx(left, abs=0.15)
        assert clip[:, 30:40, 70:80].mean() == pytest.approx(right, abs=0.15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prompt", "two", "--reference", "one.png"], "as many photos as prompts"),
        (["--prompt", "two", "--which", 0], "--which chooses one face"),
        (["--reference", "absent.png"], "absent.png"),
    ],
)
def test_prompts_and_people_have_to_match(vcd, files, film, detector, tmp_path, options, message):
    code, _, err = vcd(*face_arguments(files), *options)
    assert (code, err.count("\n")) == (2, 1), err
    assert message in err
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("option", ["--checkpoint", "--motion-module"])
def test_a_misspelt_file_is_said_before_the_video_is_looked_at(vcd, files, film, detector, option):
    detector(None)  # nothing could be found with it
    code, _, err = vcd(*face_arguments(files, **{option: "absent.ckpt"}))
    assert code == 2
    assert "absent.ckpt" in err


def test_an_interrupted_drawing_leaves_nothing(vcd, files, film, detector, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(clip_commands, "refine_faces", stop)
    assert vcd(*face_arguments(files))[0] == 130
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_one_frame_is_enough(vcd, files, detector, tmp_path):
    write_video(tmp_path / "in.mp4", torch.rand(1, 9, 12, 3).repeat(1, 8, 8, 1), 8)
    code, out, err = vcd(*face_arguments(files, **{"--size": 128}))
    assert code == 0, err
    assert "1 frame, 1 face drawn anew" in out


def test_the_licence_of_what_finds_faces_is_told(vcd, files, film, detector, monkeypatch):
    monkeypatch.setattr(clip_commands, "load_insight_faces", lambda file: Corner())
    code, out, err = vcd(*face_arguments(files, **{"--detector": "insightface", "--detector-file": "."}))
    assert code == 0, err
    assert "non-commercial research only" in out


@pytest.mark.parametrize("value", [0, 0.2])
def test_any_threshold_reaches_the_detector(vcd, files, film, monkeypatch, value):
    def load(file, threshold):
        raise ValueError(f"asked for {threshold}")

    monkeypatch.setattr(clip_commands, "load_centerface", load)
    assert f"asked for {float(value)}" in vcd(*face_arguments(files, **{"--detector-threshold": value}))[2]


def test_lost_transparency_is_told(vcd, files, detector, tmp_path):
    with av.open(str(tmp_path / "in.mov"), "w") as container:
        stream = container.add_stream("qtrle", 8, width=96, height=72, pix_fmt="argb")
        frame = av.VideoFrame.from_ndarray(np.full((72, 96, 4), 99, np.uint8), format="argb")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    arguments = face_arguments(files, **{"--size": 128})
    arguments[1] = "in.mov"
    code, out, err = vcd(*arguments)
    assert code == 0, err
    assert "its transparency is left out" in out


def test_a_picture_is_no_video(vcd, files, detector, tmp_path):
    Image.new("RGB", (96, 72)).save(tmp_path / "in.png")
    arguments = face_arguments(files)
    arguments[1] = "in.png"
    code, _, err = vcd(*arguments)
    assert code == 2
    assert "in.png is a picture: give a video" in err


def test_a_video_that_is_none_is_said(vcd, files, detector, tmp_path):
    (tmp_path / "in.mp4").write_bytes(b"nothing")
    code, _, err = vcd(*face_arguments(files))
    assert code == 2
    assert "no video that can be read" in err
