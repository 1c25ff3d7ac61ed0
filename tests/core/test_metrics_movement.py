"""Scores of optical flow: how far things move, and what flickers; and of what was enlarged."""

import math
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from demo import world
from demo.people import stranger
from demo.shots import random_clip
from demo.tensors import as_tensor
from vcd_core.metrics import flicker_of_detail, likeness_of_neighbours, motion_and_flicker, seams, steadiness
from vcd_core.metrics.movement import WORKING_SIDE

SIDE = 256


@pytest.fixture(autouse=True)
def one_thread_of_opencv():
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(threads)


@pytest.fixture
def canvas(rng):
    """(384, 384, 3): soft blobs, which flow can follow."""
    blobs = torch.rand(1, 3, 30, 30, generator=rng)
    return F.interpolate(blobs, (384, 384), mode="bicubic")[0].movedim(0, -1).clamp(0, 1)


def pan(canvas, right, down, frames=4):
    """What a camera sees that moves so many pixels a frame."""
    return torch.stack([canvas[down * t : down * t + SIDE, right * t : right * t + SIDE] for t in range(frames)])


@pytest.mark.parametrize(("right", "down"), [(0, 0), (1, 0), (3, 4), (8, 6)])
def test_motion_is_how_far_the_picture_goes_over_its_diagonal(canvas, right, down):
    amplitude, flicker = motion_and_flicker(pan(canvas, right, down))
    assert amplitude.shape == flicker.shape == (3,)
    expected = math.hypot(right, down) / (SIDE * math.sqrt(2))
    torch.testing.assert_close(amplitude, torch.full((3,), expected).double(), rtol=0.02, atol=1e-4)
    assert flicker.max() < 1e-3  # the borders, where new things come in


@pytest.mark.usefixtures("one_thread")
def test_motion_and_flicker_are_the_same_on_any_number_of_threads(canvas):
    clip = torch.cat([pan(canvas, 3, 1), pan(canvas, 2, 4)])
    alone = motion_and_flicker(clip)
    torch.set_num_threads(4)
    for one, other in zip(motion_and_flicker(clip), alone, strict=True):
        assert one.tolist() == other.tolist()


def test_motion_and_flicker_do_not_depend_on_the_size_of_the_picture(canvas):
    clip = pan(canvas, 3, 4) * torch.tensor([1.0, 0.8, 1.0, 0.8])[:, None, None, None]
    small = F.interpolate(clip.movedim(-1, 1), (SIDE // 2, SIDE // 2), mode="area").movedim(1, -1)
    for one, other in zip(motion_and_flicker(clip), motion_and_flicker(small), strict=True):
        torch.testing.assert_close(one, other, rtol=0.1, atol=0)


@pytest.mark.parametrize("step", [0, 13, 64])
def test_the_flicker_of_an_even_picture_is_the_square_of_its_steps(step):
    """A grey that fades by so many of 255 levels: nothing moves, and every pixel differs by the step."""
    levels = (26 + step * torch.arange(4)) / 255
    amplitude, flicker = motion_and_flicker(levels[:, None, None, None].expand(4, 48, 80, 3))
    assert torch.equal(amplitude, torch.zeros(3).double())
    torch.testing.assert_close(flicker, torch.full((3,), (step / 255) ** 2).double(), rtol=1e-3, atol=1e-9)


def test_flicker_is_told_from_motion(canvas):
    moving = pan(canvas, 3, 4)
    lit = moving * torch.tensor([1.0, 0.9, 1.0, 0.9])[:, None, None, None]
    plain, changed = motion_and_flicker(moving), motion_and_flicker(lit)
    torch.testing.assert_close(plain[0], changed[0], rtol=0.1, atol=0)
    assert (changed[1] > 10 * plain[1]).all()


def test_frames_out_of_order_move_and_flicker_more(canvas):
    clip = pan(canvas, 6, 8, 8)
    shuffled = clip[[0, 5, 2, 7, 1, 6, 3, 4]]
    amplitudes, flickers = zip(motion_and_flicker(clip), motion_and_flicker(shuffled), strict=True)
    assert amplitudes[1].mean() > 1.5 * amplitudes[0].mean()
    assert flickers[1].nanmean() > 2 * flickers[0].mean()


@pytest.mark.parametrize("shrunk", [1, 2])
def test_independent_frames_of_white_noise_differ_by_up_to_twice_its_variance(shrunk, rng):
    """Laying one over the other interpolates between pixels, which averages some of it away; so does shrinking."""
    noise = torch.rand(3, shrunk * WORKING_SIDE, shrunk * WORKING_SIDE, 3, generator=rng)
    _, flicker = motion_and_flicker(noise)
    variance = 1 / 12 / shrunk**2
    assert ((flicker > 1.1 * variance) & (flicker < 2 * variance)).all()


def test_what_comes_into_sight_is_no_flicker(canvas):
    """A square that slides over a still picture uncovers what was behind it."""
    clip = canvas[None, :SIDE, :SIDE].repeat(3, 1, 1, 1)
    for t in range(3):
        clip[t, 80:160, 40 + 12 * t : 120 + 12 * t] = canvas[300:380, 300:380]
    _, flicker = motion_and_flicker(clip)
    naive = (clip[1:] - clip[:-1]).square().mean((1, 2, 3))
    assert (flicker < 0.1 * naive).all()


@pytest.fixture
def flicker_of(monkeypatch):
    """The flicker of two frames with these flows (H, W, 2) from the first to the second and back."""

    def measured(before, after, there, back):
        flows = [np.ascontiguousarray(flow, np.float32) for flow in (there, back)]
        search = SimpleNamespace(calc=lambda *_: flows.pop(0))
        monkeypatch.setattr(cv2, "DISOpticalFlow_create", lambda _preset: search)
        return motion_and_flicker([before, after])[1].item()

    return measured


@pytest.mark.parametrize(
    ("there", "within", "beyond"),
    [
        ((0, 0), (0.70, 0), (0.72, 0)),  # 0.490 < 0.505 and 0.518 > 0.505
        ((0, 0), (0, -0.70), (0, -0.72)),
        ((10, 0), (-8.52, 0), (-8.50, 0)),  # 2.190 < 2.226 and 2.250 > 2.223
        ((-3, 4), (3, -3.05), (3, -3.00)),  # 0.903 < 0.933 and 1.000 > 0.930
    ],
)
def test_flows_agree_where_published_to(there, within, beyond, flicker_of):
    """|f + b|² < 0.01 (|f|² + |b|²) + 0.5, in pixels at 512 of them (Sundaram et al., ECCV 2010)."""
    frame = torch.full((32, WORKING_SIDE, 3), 0.5)
    everywhere = np.ones((32, WORKING_SIDE, 2))
    assert flicker_of(frame, frame, there * everywhere, within * everywhere) == 0
    assert math.isnan(flicker_of(frame, frame, there * everywhere, beyond * everywhere))


def test_the_flow_back_is_read_where_the_flow_leads(flicker_of):
    """Columns 100 to 200 go 8 to the right: the 8 they leave count, the 8 they cover do not."""
    there, back = np.zeros((2, 32, WORKING_SIDE, 2))
    there[:, 100:200, 0] = 8
    back[:, 108:208, 0] = -8
    black, left, covered = torch.zeros(3, 32, WORKING_SIDE, 3)
    left[:, 100:108] = covered[:, 200:208] = 1
    assert flicker_of(left, black, there, back) == pytest.approx(8 / (WORKING_SIDE - 8))
    assert flicker_of(covered, black, there, back) == 0


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (200, 3), (33, 47)])
def test_pictures_of_any_shape_have_a_flow(shape, rng):
    for values in motion_and_flicker(torch.rand(2, *shape, 3, generator=rng)):
        assert values.shape == (1,)
    assert [len(values) for values in motion_and_flicker(torch.rand(1, *shape, 3, generator=rng))] == [0, 0]


def test_the_likeness_of_neighbours_is_their_correlation(rng):
    frames = torch.rand(3, 5, 4, generator=rng)
    pairs = [np.corrcoef(frames[t].flatten(), frames[t + 1].flatten())[0, 1] for t in (0, 1)]
    assert likeness_of_neighbours(frames) == pytest.approx(np.mean(pairs))
    assert np.isnan(likeness_of_neighbours(frames[:, :0]))


def test_what_moves_as_one_is_steady_and_what_flickers_is_not():
    look, rng = stranger("woman", 3), np.random.default_rng(1)
    shots = random_clip(rng, "drift", 16, "on a beach", "far")[:4]
    renders = [world.render(look, shot) for shot in shots]
    clip = as_tensor([render.image for render in renders]).movedim(1, -1) * 0.5 + 0.5
    face = torch.zeros(128, 128, dtype=torch.bool)
    for render in renders:
        x0, y0, x1, y1 = map(int, render.face_box)
        face[y0:y1, x0:x1] = True
    assert likeness_of_neighbours(clip[:, face]) < 0.9
    assert steadiness(clip, face, 4) > 0.98
    flickering = (clip + 0.1 * torch.randn(clip.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    assert steadiness(flickering, face, 4) < 0.95
    assert steadiness(clip[:1].expand(3, -1, -1, -1), face, 4) == pytest.approx(1, abs=1e-3)
    assert np.isnan(steadiness(clip, face & False, 4))


def test_a_seam_is_what_differs_at_a_line():
    clip = torch.zeros(2, 24, 32, 3)
    clip[:, :, 20:] = 1
    assert seams(clip, [8], [20]) == math.inf
    assert seams(clip, [8], [19]) == 0
    assert seams(clip.transpose(1, 2), [20], [8]) == math.inf


def test_noise_has_no_seams(rng):
    assert seams(torch.rand(2, 256, 256, 3, generator=rng), [64, 128], [100]) == pytest.approx(1, abs=0.02)


def test_detail_that_stays_in_its_place_does_not_flicker(rng):
    before = torch.rand(4, 16, 16, 3, generator=rng)
    detail = torch.rand(16, 16, 3, generator=rng)
    assert flicker_of_detail(before + detail, before) == pytest.approx(0, abs=1e-6)
    blinking = before + 0.5 * (torch.arange(4) % 2)[:, None, None, None]
    assert flicker_of_detail(blinking, before) == pytest.approx(0.5)
