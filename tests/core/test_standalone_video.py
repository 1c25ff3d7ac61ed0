"""Video files, read back with the decoder."""

from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch

from vcd_core.video import write_video


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
        (torch.zeros(1, 8, 8, 3), 0, "more than 0, got 0"),
        (torch.zeros(1, 8, 8, 3), float("nan"), "more than 0, got nan"),
    ],
)
def test_what_is_no_clip_is_refused(tmp_path, clip, fps, complaint):
    with pytest.raises(ValueError, match=complaint):
        write_video(tmp_path / "clip.mp4", clip, fps)
    assert not list(tmp_path.iterdir())
