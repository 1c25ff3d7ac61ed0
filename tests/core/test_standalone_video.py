"""Video files, read back with the decoder."""

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch

from vcd_core.video import convert_video, copy_video, probe_video, read_video, write_video


def gradient(frames, height, width):
    """A smooth picture that grows lighter from frame to frame: what a codec keeps."""
    t = torch.linspace(0.2, 0.8, frames)[:, None, None]
    y, x = torch.linspace(0, 0.2, height)[:, None], torch.linspace(0, 0.2, width)
    return torch.stack([t + y + 0 * x, t - x + 0 * y, 0.5 + x - y + 0 * t], dim=-1)


def read(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return torch.from_numpy(np.stack(pictures)) / 255, stream


@pytest.mark.parametrize("fps", [8, 24000 / 1001, 12.5])
def test_a_clip_comes_back_as_it_was(tmp_path, fps):
    clip = gradient(16, 64, 96)
    path = write_video(tmp_path / "sub" / "clip.mp4", clip, fps)
    back, stream = read(path)
    assert back.shape == clip.shape
    assert (back - clip).abs().mean() < 0.01
    assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    assert float(stream.average_rate) == pytest.approx(fps, rel=1e-6)
    assert [file.name for file in path.parent.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize(("height", "width"), [(33, 48), (48, 33), (33, 47), (1, 1)])
def test_odd_sizes_get_their_last_row_or_column_twice(tmp_path, height, width):
    clip = gradient(3, height, width)
    back, _ = read(write_video(tmp_path / "clip.mp4", clip, 8))
    assert back.shape == (3, height + height % 2, width + width % 2, 3)
    assert (back[:, :height, :width] - clip).abs().mean() < 0.02
    assert (back[:, -1] - back[:, height - 1]).abs().mean() < 0.02


def test_values_outside_the_range_are_clamped(tmp_path):
    clip = torch.stack([torch.full((32, 32, 3), value) for value in (-0.4, 1.3)])
    back, _ = read(write_video(tmp_path / "clip.mp4", clip, 8))
    assert back[0].max() < 0.03
    assert back[1].min() > 0.97


def test_a_failure_midway_leaves_the_earlier_file(tmp_path, monkeypatch):
    path = write_video(tmp_path / "clip.mp4", gradient(2, 32, 32), 8)
    before = path.read_bytes()
    original, calls = av.VideoFrame.from_ndarray, []

    def fail_late(*args, **kwargs):
        calls.append(args)
        if len(calls) == 100:  # the encoder holds back the first frames, and the file with them
            assert len(list(tmp_path.iterdir())) == 2
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    monkeypatch.setattr(av, "VideoFrame", SimpleNamespace(from_ndarray=fail_late))
    with pytest.raises(KeyboardInterrupt):
        write_video(path, gradient(120, 32, 32), 8)
    assert len(calls) == 100
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("clip", "fps", "complaint"),
    [
        (torch.zeros(0, 8, 8, 3), 8, "at least one frame"),
        (torch.zeros(2, 3, 8, 8), 8, r"must be \(F, H, W, 3\)"),
        (torch.full((1, 8, 8, 3), torch.nan), 8, "not numbers"),
        (torch.zeros(1, 8, 8, 3), 0, r"0\.001 or more, got 0"),
        (torch.zeros(1, 8, 8, 3), 1e-5, r"0\.001 or more, got 1e-05"),
        (torch.zeros(1, 8, 8, 3), float("nan"), r"0\.001 or more, got nan"),
    ],
)
def test_what_is_no_clip_is_refused(tmp_path, clip, fps, complaint):
    with pytest.raises(ValueError, match=complaint):
        write_video(tmp_path / "clip.mp4", clip, fps)
    assert not list(tmp_path.iterdir())


# --- streaming ------------------------------------------------------------------------------------------


def with_sound(path, frames, times, rate=25, codec="aac", look=None):
    """A video whose frames are shown at these milliseconds, with a tone beside it; look: what its codec says of it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "10"})
        for name, value in (look or {}).items():
            setattr(stream.codec_context, name, value)
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        sound = container.add_stream(codec, rate=16000, layout="mono")
        for picture, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray((picture * 255).round().byte().numpy(), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        for start in range(0, 16000, 1024):
            tone = np.sin(np.arange(start, start + 1024) * 0.1)[None] * 0.3
            if codec == "aac":
                frame = av.AudioFrame.from_ndarray(tone.astype(np.float32), format="fltp", layout="mono")
            else:
                frame = av.AudioFrame.from_ndarray((tone * 30000).astype(np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16000, start, Fraction(1, 16000)
            container.mux(sound.encode(frame))
        container.mux(stream.encode())
        container.mux(sound.encode())
    return path


def times_of(path):
    with av.open(str(path)) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]


def sound_of(path):
    with av.open(str(path)) as container:
        return [
            (bytes(packet), float(packet.pts * packet.time_base)) for packet in container.demux(audio=0) if packet.size
        ]


EVEN = [40 * number for number in range(25)]
UNEVEN = [0, 40, 80, 200, 240, 300, 500, 520, 600, 1000]


@pytest.mark.parametrize("times", [EVEN, UNEVEN], ids=["even", "uneven"])
@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".mov"])
def test_a_changed_video_keeps_its_sound_and_its_times(tmp_path, times, ending):
    clip = gradient(len(times), 48, 64)
    source = with_sound(tmp_path / "in.mp4", clip, times)
    target = convert_video(source, tmp_path / f"out{ending}", lambda frames: (1 - frame for frame in frames))
    back, _ = read(target)
    assert (back - (1 - clip)).abs().mean() < 0.02
    shift = times_of(target)[0]  # of all: a .mkv begins with the sound, which begins before the picture
    assert times_of(target) == pytest.approx([shift + time / 1000 for time in times], abs=0.002)
    theirs, ours = sound_of(source), sound_of(target)
    assert [packet for packet, _ in ours] == [packet for packet, _ in theirs]
    assert [time for _, time in ours] == pytest.approx([shift + time for _, time in theirs], abs=0.002)


def test_frames_are_handed_through_one_by_one(tmp_path):
    source = write_video(tmp_path / "in.mp4", gradient(30, 32, 32), 8)
    ahead = []

    def change(frames):
        for number, frame in enumerate(frames):
            ahead.append(number)
            yield frame

    convert_video(source, tmp_path / "out.mp4", change)
    assert ahead == list(range(30))
    assert len(list(read_video(tmp_path / "out.mp4"))) == 30
    info = probe_video(tmp_path / "out.mp4")
    assert (info.height, info.width, info.fps, info.frames) == (32, 32, 8, 30)


def test_another_size_may_come_back(tmp_path):
    source = write_video(tmp_path / "in.mp4", gradient(4, 32, 48), 8)
    large = convert_video(source, tmp_path / "out.mp4", lambda frames: (frame.repeat(2, 2, 1) for frame in frames))
    assert read(large)[0].shape == (4, 64, 96, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frames: list(frames)[:-1], "1 frames did not come back"),
        (lambda frames: [*frames, torch.zeros(32, 32, 3)], "more frames came back"),
        (lambda frames: (frame * torch.nan for frame in frames), "not numbers"),
    ],
)
def test_frames_that_get_lost_or_are_no_pictures_leave_no_file(tmp_path, change, message):
    source = write_video(tmp_path / "in.mp4", gradient(4, 32, 32), 8)
    with pytest.raises(ValueError, match=message):
        convert_video(source, tmp_path / "out.mp4", change)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no file"), (b"", "no video that can be read"), (b"hello" * 100, "no video that can be read")],
)
def test_what_is_no_video_is_said(tmp_path, content, message):
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)
    for use in (
        probe_video,
        lambda path: list(read_video(path)),
        lambda path: convert_video(path, tmp_path / "o.mp4", iter),
    ):
        with pytest.raises(ValueError, match=message):
            use(path)
    assert not (tmp_path / "o.mp4").exists()


def test_sound_alone_is_no_video(tmp_path):
    with av.open(str(tmp_path / "tone.mp4"), "w") as container:
        sound = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(sound.encode(frame))
        container.mux(sound.encode())
    with pytest.raises(ValueError, match="only sound"):
        probe_video(tmp_path / "tone.mp4")


def test_a_video_that_breaks_off_gives_what_it_has_or_says_so(tmp_path):
    whole = write_video(tmp_path / "whole.mp4", torch.rand(40, 64, 64, 3), 8).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut\.mp4 (is no video|breaks off|has no frame)"):
        list(read_video(tmp_path / "cut.mp4"))


@pytest.mark.parametrize("first", [0, 21, 20, 33, 1000])
def test_a_video_may_begin_anywhere(tmp_path, first):
    """Also half a frame in, where rounding every time by itself would make two frames one."""
    clip = gradient(12, 48, 64)
    times = [first + round(number * 1000 / 24) for number in range(12)]
    source = with_sound(tmp_path / "in.mkv", clip, times, rate=24)
    shown = times_of(convert_video(source, tmp_path / "out.mkv", lambda frames: frames))
    assert np.diff(shown) == pytest.approx([1 / 24] * 11, abs=0.0021)
    assert len(read(tmp_path / "out.mkv")[0]) == 12


def test_sound_that_does_not_fit_is_left_out_with_a_warning(tmp_path, caplog):
    clip = gradient(10, 48, 64)
    source = with_sound(tmp_path / "in.mkv", clip, [40 * number for number in range(10)], codec="flac")
    convert_video(source, tmp_path / "out.mov", lambda frames: frames)
    with av.open(str(tmp_path / "out.mov")) as container:
        assert not container.streams.audio
    assert "the sound (flac)" in caplog.text
    caplog.clear()
    convert_video(source, tmp_path / "out.mkv", lambda frames: frames)
    assert [packet for packet, _ in sound_of(tmp_path / "out.mkv")] == [packet for packet, _ in sound_of(source)]
    assert not caplog.text


@pytest.mark.parametrize(("matrix", "kept"), [(1, 1), (6, 6), (2, 2)])
def test_colours_and_pixels_keep_what_they_mean(tmp_path, matrix, kept):
    """A player that follows the tags shows the same, and so does our reader."""
    clip = torch.tensor([0.8, 0.3, 0.2]).expand(5, 48, 64, 3).contiguous()
    look = {"colorspace": matrix, "color_primaries": matrix, "color_trc": matrix, "sample_aspect_ratio": Fraction(4, 3)}
    source = with_sound(tmp_path / "in.mp4", clip, [40 * number for number in range(5)], look=look)
    target = convert_video(source, tmp_path / "out.mp4", lambda frames: frames)
    with av.open(str(target)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.colorspace == kept
        assert stream.sample_aspect_ratio == Fraction(4, 3)
    before, after = (torch.stack(list(read_video(path))) for path in (source, target))
    assert (before - after).abs().mean() < 0.01


def test_high_dynamic_range_is_refused(tmp_path):
    source = with_sound(tmp_path / "in.mp4", gradient(3, 48, 64), [0, 40, 80], look={"color_trc": 16})
    with pytest.raises(ValueError, match=r"high dynamic range \(PQ\)"):
        convert_video(source, tmp_path / "out.mp4", lambda frames: frames)
    assert not (tmp_path / "out.mp4").exists()


def test_a_copy_is_the_same_or_has_the_same_pictures(tmp_path):
    source = with_sound(tmp_path / "in.mp4", gradient(6, 48, 64), [40 * number for number in range(6)])
    assert copy_video(source, tmp_path / "out.mp4").read_bytes() == source.read_bytes()
    back, _ = read(copy_video(source, tmp_path / "out.mkv"))
    assert (back - gradient(6, 48, 64)).abs().mean() < 0.02
    for work in (copy_video, lambda source, target: convert_video(source, target, lambda frames: frames)):
        with pytest.raises(ValueError, match="is the video itself"):
            work(source, source)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full, a disk that is always full")
def test_a_full_disk_is_said_and_not_taken_for_a_picture_that_is_too_large(tmp_path, monkeypatch):
    own = av.open
    monkeypatch.setattr(av, "open", lambda path, *rest, **named: own("/dev/full", *rest, **named))
    with pytest.raises(OSError, match="No space left on device.*make room on the disk"):
        write_video(tmp_path / "clip.mkv", gradient(3, 64, 96), 8)
    assert list(tmp_path.iterdir()) == []
