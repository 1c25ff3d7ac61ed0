"""Faces drawn anew in a clip that streams through, by refinements with known effects."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from vcd_core.faces import CropOptions, FaceJob, RefineOptions, plan_crop, refine_faces, refinement, track_faces
from vcd_core.vision import Face

CROP = CropOptions(size=64, margin=2.0, mask_margin=1.3)


def clip_of(frames, shape=(96, 128), seed=0):
    small = torch.rand(frames, 3, shape[0] // 8, shape[1] // 8, generator=torch.Generator().manual_seed(seed))
    large = torch.nn.functional.interpolate(small, shape, mode="bicubic").clamp(0, 1)
    return list(large.movedim(1, -1).contiguous())


def paths_of(*ways, frames, shape=(96, 128)):
    """Crops around faces of 24 pixels on these ways (frame -> x, y), present in their frames."""
    found = []
    for t in range(frames):
        places = [way(t) for way, present in ways if t in present]
        found.append([Face((x - 12, y - 12, x + 12, y + 12), 0.9) for x, y in places])
    return [plan_crop(track, shape, CROP) for track in track_faces(found)[0]]


def moving(t):
    return 30 + 2 * t, 48


def identity(clip, mask, noise, strength):
    return clip


def red(clip, mask, noise, strength):
    return torch.where(mask[..., None] > 0, torch.tensor([0.9, 0.1, 0.1]), clip)


def refined(frames, jobs, **options):
    return list(refine_faces(iter(frames), jobs, CROP, RefineOptions(**options)))


@pytest.mark.parametrize("length", [1, 7, 16, 17, 37])
def test_what_lies_outside_the_mask_is_not_touched(length):
    frames = clip_of(length)
    (path,) = paths_of((moving, range(length)), frames=length)
    results = refined(frames, [FaceJob(path, red)])
    assert len(results) == length
    for frame, result in zip(frames, results, strict=True):
        outside = result.mask == 0
        assert 0.7 < outside.float().mean() < 0.97
        assert torch.equal(result.image[outside], frame[outside])
        assert not torch.equal(result.image, frame)


def test_a_refinement_that_changes_nothing_changes_nearly_nothing():
    frames = clip_of(37)
    (path,) = paths_of((moving, range(37)), frames=37)
    for frame, result in zip(frames, refined(frames, [FaceJob(path, identity)]), strict=True):
        inside = result.mask > 0
        assert -10 * (result.image - frame)[inside].square().mean().log10() >= 45


def test_strength_zero_asks_nobody_and_changes_nothing():
    def never(*_):
        raise AssertionError

    frames = clip_of(5)
    (path,) = paths_of((moving, range(5)), frames=5)
    for frame, result in zip(frames, refined(frames, [FaceJob(path, never)], strength=0), strict=True):
        assert torch.equal(result.image, frame)
        assert not result.mask.any()


def test_frames_without_the_face_are_left_alone():
    frames = clip_of(20)
    (path,) = paths_of((moving, range(6, 15)), frames=20)
    results = refined(frames, [FaceJob(path, red)])
    changed = [not torch.equal(frame, result.image) for frame, result in zip(frames, results, strict=True)]
    assert changed == [6 <= t < 15 for t in range(20)]
    assert [list(result.crops) for result in results] == [[0] if 6 <= t < 15 else [] for t in range(20)]


def test_each_face_has_its_own_refinement():
    def blue(clip, mask, noise, strength):
        return torch.where(mask[..., None] > 0, torch.tensor([0.1, 0.1, 0.9]), clip)

    frames = clip_of(10)
    first, second = paths_of((lambda t: (30, 30), range(10)), (lambda t: (95, 60), range(10)), frames=10)
    for result in refined(frames, [FaceJob(first, red), FaceJob(second, blue)]):
        assert result.image[30, 30].argmax() == 0
        assert result.image[60, 95].argmax() == 2


@pytest.mark.parametrize(
    ("length", "window", "overlap"), [(37, 16, 4), (17, 16, 0), (33, 8, 7), (16, 16, 4), (5, 1, 0)]
)
def test_windows_cover_a_track_evenly_and_share_their_noise(length, window, overlap):
    """Every frame is seen with one and the same noise, and the noise is the prior's."""
    seen: dict[int, list[torch.Tensor]] = {}
    spans = []

    def recording(clip, mask, noise, strength):
        # frames carry their number in their brightness
        numbers = (clip.mean((1, 2, 3)) * 100).round().int().tolist()
        spans.append(numbers)
        for number, one in zip(numbers, noise, strict=True):
            seen.setdefault(number, []).append(one)
        return clip

    frames = [torch.full((96, 128, 3), t / 100) for t in range(length)]
    (path,) = paths_of((lambda t: (60, 48), range(length)), frames=length)
    refined(frames, [FaceJob(path, recording)], window=window, overlap=overlap, gamma=0.5)
    assert sorted(seen) == list(range(length))
    assert all(len(span) == min(window, length) for span in spans)
    assert all(len(set(one) & set(two)) >= overlap for one, two in zip(spans, spans[1:], strict=False))
    for noises in seen.values():
        assert all(torch.equal(noises[0], other) for other in noises)
    whole = torch.stack([seen[t][0] for t in range(length)]).flatten(1)
    assert whole.shape[1] == 4 * 8 * 8
    if length > 16:
        likeness = torch.nn.functional.cosine_similarity(whole[1:], whole[:-1]).mean()
        assert likeness == pytest.approx(0.5, abs=5 / (256 * length) ** 0.5)


@pytest.mark.parametrize("overlap", [0, 3])
def test_noise_goes_on_from_window_to_window(overlap):
    """At gamma 1 all frames of a face start from one and the same noise."""
    noises = []

    def recording(clip, mask, noise, strength):
        noises.append(noise)
        return clip

    frames = clip_of(32)
    (path,) = paths_of((lambda t: (60, 48), range(32)), frames=32)
    refined(frames, [FaceJob(path, recording)], gamma=1.0, overlap=overlap)
    assert len(noises) > 1
    for noise in noises:
        assert torch.equal(noise, noises[0][:1].expand_as(noise))


def test_a_face_does_not_undo_its_neighbour():
    """The second's square shows the first as it was; where their masks overlap, each is put back where it is nearer."""
    frames = [torch.full((96, 128, 3), 0.5)] * 3
    paths = paths_of((lambda t: (50, 48), range(3)), (lambda t: (74, 48), range(3)), frames=3)
    left = refined(frames, [FaceJob(paths[0], red), FaceJob(paths[1], identity)])[1].image
    alone = refined(frames, [FaceJob(paths[0], red)])[1].image
    own = slice(40, 57), slice(42, 58)  # of the first face's box, its middle
    assert (left[own] - alone[own]).abs().max() < 0.05
    assert (left[48, 74] - frames[0][48, 74]).abs().max() < 0.05


def test_a_face_that_is_left_alone_stays_as_it_was_beside_one_that_is_drawn():
    """As if it were drawn, too, by what gives back what it sees."""
    frames = [torch.full((96, 128, 3), 0.5)] * 6
    paths = paths_of((lambda t: (50, 48), range(6)), (lambda t: (66, 48), range(2, 5)), frames=6)
    left = list(refine_faces(frames, [FaceJob(paths[0], red)], CROP, RefineOptions(), paths[1:]))
    both = refined(frames, [FaceJob(paths[0], red), FaceJob(paths[1], identity)])
    alone = refined(frames, [FaceJob(paths[0], red)])
    for one, other in zip(left, both, strict=True):
        assert_close(one.image, other.image, atol=1e-5, rtol=0)
    for number in (0, 1, 5):
        assert torch.equal(left[number].image, alone[number].image)
    changed, unguarded = ((one[3].image - frames[3])[48, 60:78].abs().max() for one in (left, alone))
    assert changed < unguarded / 2
    assert unguarded > 0.1


def test_a_face_that_hides_another_is_drawn_whole():
    """While she walks behind him only he is found: what is drawn is his face alone, as if nobody were there."""
    frames = [torch.full((96, 128, 3), 0.5)] * 30
    found = []
    for t in range(30):
        he, she = (Face((x - 12, 36, x + 12, 60), 0.9) for x in (64, 22 + 3 * t))
        found.append([he] if 10 <= t <= 18 else [he, she])
    his, hers = (plan_crop(track, (96, 128), CROP) for track in track_faces(found)[0])
    assert not hers.shown[11:18].any()
    together = refined(frames, [FaceJob(his, red), FaceJob(hers, red)])
    alone = refined(frames, [FaceJob(his, red)])
    for t in range(11, 18):
        assert torch.equal(together[t].mask, alone[t].mask)
        assert torch.equal(together[t].image, alone[t].image)


def test_a_face_outside_the_picture_is_no_error():
    crop = CropOptions(size=64, mask_margin=0.5)
    found = [[Face((-30.0, 40.0, 1.0, 70.0), 0.9)]] * 3
    path = plan_crop(track_faces(found)[0][0], (96, 128), crop)
    for frame, result in zip(
        clip_of(3), refine_faces(clip_of(3), [FaceJob(path, red)], crop, RefineOptions()), strict=True
    ):
        assert torch.equal(frame[:, 40:], result.image[:, 40:])


def test_pixels_that_are_not_numbers_are_said():
    (path,) = paths_of((moving, range(3)), frames=3)
    with pytest.raises(ValueError, match="not numbers"):
        refined(clip_of(3), [FaceJob(path, lambda clip, *_: clip * float("nan"))])


def test_a_window_fades_into_the_next(monkeypatch):
    """Windows that answer with their number: no frame jumps by more than its part of the overlap."""
    monkeypatch.setattr(refinement, "colour_gains", lambda before, *_: np.ones((len(before), 3)))
    calls = []

    def numbered(clip, mask, noise, strength):
        calls.append(len(calls))
        return torch.full_like(clip, 0.4 + 0.1 * calls[-1])

    frames = [torch.full((96, 128, 3), 0.5)] * 26
    (path,) = paths_of((lambda t: (60, 48), range(26)), frames=26)
    results = refined(frames, [FaceJob(path, numbered)], window=16, overlap=6)
    levels = torch.stack([result.crops[0][1].mean() for result in results])
    assert_close(levels[0], torch.tensor(0.4))
    assert_close(levels[-1], torch.tensor(0.5))
    assert (levels.diff() >= -1e-6).all()
    assert levels.diff().max() < 0.1 / 6


def test_a_clip_streams_through():
    """No more frames wait than a window has, and a frame's own faces alone hold it back."""
    handed = []

    def frames():
        for t in range(60):
            handed.append(t)
            yield torch.full((96, 128, 3), 0.5)

    (path,) = paths_of((lambda t: (60, 48), range(20, 40)), frames=60)
    for number, _ in enumerate(refine_faces(frames(), [FaceJob(path, identity)], CROP, RefineOptions(window=8))):
        assert handed[-1] - number < 16
        if not 20 <= number < 40:
            assert handed[-1] == number


def test_the_seed_decides_the_noise_and_each_face_has_its_own():
    noises = []

    def recording(clip, mask, noise, strength):
        noises.append(noise)
        return clip

    frames = clip_of(6)
    paths = paths_of((lambda t: (30, 30), range(6)), (lambda t: (95, 60), range(6)), frames=6)
    jobs = [FaceJob(path, recording) for path in paths]
    for seed in (1, 1, 2):
        refined(frames, jobs, seed=seed)
    one, two, again, *_, other = noises[0], noises[1], noises[2], noises[4]
    assert torch.equal(one, again)
    assert not torch.equal(one, two)
    assert not torch.equal(one, other)


def test_a_clip_that_ends_too_soon_is_an_error():
    (path,) = paths_of((moving, range(10)), frames=10)
    with pytest.raises(ValueError, match="ended after 6 frames"):
        refined(clip_of(6), [FaceJob(path, identity)])


@pytest.mark.parametrize("bad", [{"strength": 1.2}, {"strength": -0.1}, {"window": 4, "overlap": 4}])
def test_options_that_make_no_sense_are_refused(bad):
    with pytest.raises(ValueError, match=str(next(iter(bad.values())))):
        RefineOptions(**bad)


def test_a_face_at_the_border_and_odd_sizes_work():
    frames = [frame[:95, :127] for frame in clip_of(5)]
    found = [[Face((-10, 60, 20, 100), 0.9)] for _ in frames]
    (track,), _ = track_faces(found)
    path = plan_crop(track, (95, 127), replace(CROP, margin=1.2))
    for frame, result in zip(frames, refined(frames, [FaceJob(path, red)]), strict=True):
        assert result.image.shape == frame.shape
        assert result.image[80, 2].argmax() == 0
        assert np.isfinite(result.image.numpy()).all()
