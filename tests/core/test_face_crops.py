"""The square that follows a face: where it is, what it shows, and that putting it back undoes cutting it out."""

import numpy as np
import pytest
from scipy import ndimage

from vcd_core.faces import (
    CropOptions,
    CropPath,
    Track,
    cut_out,
    mask_in_crop,
    mask_in_frame,
    plan_crop,
    put_back,
    track_faces,
)
from vcd_core.faces.colour import colour_gains, to_linear, with_gains
from vcd_core.vision import Face

PICTURE = (240, 320)  # H, W


def track(middles, sizes=40.0, seen=None, landmarks=None) -> Track:
    middles = np.asarray(middles, float)
    half = np.broadcast_to(np.asarray(sizes, float)[..., None], (len(middles), 1)) / 2
    unknown = np.full((len(middles), 5, 2), np.nan)
    return Track(
        0,
        np.concatenate([middles - half, middles + half], 1),
        np.ones(len(middles), bool) if seen is None else np.asarray(seen),
        unknown if landmarks is None else landmarks,
        None,
        0,
    )


def soft_picture(seed=0, blur=1.5, shape=PICTURE) -> np.ndarray:
    """(H, W, 3) float32 in [0, 1] without the finest detail, as photographs are."""
    noise = np.random.default_rng(seed).random((*shape, 3))
    blurred = ndimage.gaussian_filter(noise, (blur, blur, 0), mode="mirror")
    return ((blurred - blurred.min()) / np.ptp(blurred) * 0.8 + 0.1).astype(np.float32)


def square(centre, side, roll=0.0, face=40.0) -> CropPath:
    faces = np.array([[*centre, face, face]], float)
    return CropPath(0, np.array([centre], float), np.array([float(side)]), np.array([roll]), faces, np.ones(1), PICTURE)


# --- where it is ----------------------------------------------------------------------------------------


def test_a_shaking_face_is_followed_calmly_and_without_delay():
    rng = np.random.default_rng(0)
    time = np.arange(100)
    true = np.stack([60 + 2 * time, 120 + 20 * np.sin(time / 15)], 1)
    shaking = true + rng.normal(0, 2, true.shape)
    path = plan_crop(track(shaking), (240, 400), CropOptions())
    jitter = [np.sqrt((np.diff(one, 2, axis=0) ** 2).mean()) for one in (path.centres, shaking)]
    assert jitter[0] <= 0.25 * jitter[1]
    delays = np.arange(-3, 3.01, 0.25)
    errors = [
        np.square(path.centres[10:-10, 0] - np.interp(time[10:-10] - delay, time, true[:, 0])).mean()
        for delay in delays
    ]
    assert abs(delays[np.argmin(errors)]) <= 0.5


@pytest.mark.parametrize("speed", [4.0, 12.0])
def test_a_fast_face_stays_in_a_tight_square(speed):
    """One static square around all of its way would be far larger."""
    time = np.arange(24)
    middles = np.stack([30 + speed * time, 120 + 6 * np.sin(time)], 1)
    options = CropOptions(margin=2.0)
    path = plan_crop(track(middles), (240, 400), options)
    need = (options.margin * 40) ** 2
    assert (path.sides**2 <= 1.3 * need).all()
    static = max(np.ptp(middles[:, 0]), np.ptp(middles[:, 1])) + options.margin * 40
    assert static**2 > 3 * need
    low, high = path.centres - path.sides[:, None] / 2, path.centres + path.sides[:, None] / 2
    assert (low <= middles - 20).all()
    assert (high >= middles + 20).all()


def test_a_face_that_jumps_is_still_held():
    middles = np.full((20, 2), 120.0)
    middles[10] += 45
    path = plan_crop(track(middles), PICTURE, CropOptions(margin=1.5))
    low, high = path.centres - path.sides[:, None] / 2, path.centres + path.sides[:, None] / 2
    assert (low <= middles - 20).all()
    assert (high >= middles + 20).all()


@pytest.mark.parametrize("corner", [(0, 0), (320, 0), (5, 235), (320, 240)])
def test_a_face_half_outside_keeps_its_square_inside(corner):
    path = plan_crop(track([corner] * 5), PICTURE, CropOptions())
    assert (path.centres - path.sides[:, None] / 2 >= -1e-9).all()
    assert (path.centres + path.sides[:, None] / 2 <= np.array([320, 240]) + 1e-9).all()


def test_a_face_larger_than_the_picture_takes_all_of_it():
    path = plan_crop(track([[160, 120]] * 3, 400.0), PICTURE, CropOptions())
    np.testing.assert_allclose(path.sides, 320)


def test_a_growing_face_grows_its_square():
    sizes = 30 * 1.04 ** np.arange(24)
    path = plan_crop(track([[160, 120]] * 24, sizes), PICTURE, CropOptions(margin=1.6))
    np.testing.assert_allclose(path.sides, 1.6 * sizes, rtol=1e-6)


def test_eyes_are_levelled_where_landmarks_are_known():
    landmarks = np.full((9, 5, 2), np.nan)
    for frame in (0, 3, 4, 8):
        landmarks[frame, 0], landmarks[frame, 1] = (150, 110), (170, 110 + 20 * np.tan(0.3))
    leaning = track([[160, 120]] * 9, landmarks=landmarks)
    np.testing.assert_allclose(plan_crop(leaning, PICTURE, CropOptions(upright=True)).rolls, 0.3, atol=1e-6)
    assert not plan_crop(leaning, PICTURE, CropOptions()).rolls.any()
    assert not plan_crop(track([[160, 120]] * 9), PICTURE, CropOptions(upright=True)).rolls.any()


@pytest.mark.parametrize(("gap", "hidden"), [(1, 0), (3, 0), (4, 2), (9, 7)])
def test_a_face_that_is_hidden_for_long_is_not_drawn(gap, hidden):
    """A short gap is the detector's fault; in a long one something stands before the face."""
    seen = np.ones(20, bool)
    seen[5 : 5 + gap] = False
    path = plan_crop(track([[160, 120]] * 20, seen=seen), PICTURE, CropOptions())
    drawn = np.array([mask_in_crop(path, number, 64, CropOptions()).max() for number in range(20)])
    assert (drawn < 0.01).sum() == hidden
    assert (drawn[seen] > 0.99).all()
    if hidden:
        np.testing.assert_allclose(drawn[[5, 4 + gap]], 0.5, atol=0.01)


@pytest.mark.parametrize(("first", "last"), [(0, 19), (4, 19), (0, 12), (4, 12), (8, 10)])
def test_a_face_that_appears_or_goes_within_a_shot_does_so_softly(first, last):
    """At the borders of a shot it is there at once: whoever cuts in or away wants no fade."""
    found = [[Face((140, 100, 180, 140), 0.9)] if first <= frame <= last else [] for frame in range(20)]
    (one, _), _ = track_faces([*found, *found], cuts=[20])
    path = plan_crop(one, PICTURE, CropOptions())
    drawn = np.array([mask_in_crop(path, number, 64, CropOptions()).max() for number in range(len(path.frames))])
    whole = np.concatenate([[0] * (first > 0), drawn, [0] * (last < 19)])  # as far as there are frames around it
    assert np.abs(np.diff(whole)).max() <= (0.51 if len(drawn) < 4 else 0.26 if first > 0 or last < 19 else 0)
    assert drawn.max() > 0.99


@pytest.mark.parametrize(
    "bad",
    [
        {"size": 500},
        {"size": 32},
        {"margin": 0.5},
        {"mask_margin": 0},
        {"feather": -0.1},
        {"feather": 1.5},
        {"min_enlargement": -1},
    ],
)
def test_a_frame_that_makes_no_sense_is_refused(bad):
    with pytest.raises(ValueError, match=str(next(iter(bad.values())))):
        CropOptions(**bad)


# --- what it shows --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [64, 128, 512])
def test_a_square_shows_its_place_in_the_picture(size):
    """A ramp resampled is the ramp at the pixels' middles, whatever the size: right to a fiftieth of a pixel."""
    y, x = np.mgrid[: PICTURE[0], : PICTURE[1]] + 0.5
    ramp = np.stack([x, y, x + y], -1).astype(np.float32)
    shown = cut_out(ramp, square((150.3, 110.7), 100.5), 0, size)
    places = (np.arange(size) + 0.5) * 100.5 / size - 50.25
    assert np.abs(shown[:, :, 0] - (150.3 + places)[None, :]).max() < 0.021
    assert np.abs(shown[:, :, 1] - (110.7 + places)[:, None]).max() < 0.021


@pytest.mark.parametrize("roll", [0.0, 0.4, -1.2])
def test_turning_is_about_the_middle_and_clockwise(roll):
    """A dot where a face turned clockwise has its right ear comes out level, at the right."""
    frame = np.zeros((*PICTURE, 3), np.float32)
    x, y = np.array([160, 120]) + 40 * np.array([np.cos(roll), np.sin(roll)])
    frame[int(y), int(x)] = 1
    frame = ndimage.gaussian_filter(frame, (1.5, 1.5, 0))
    shown = cut_out(frame, square((160, 120), 128, roll), 0, 128)[..., 0]
    found = np.array(ndimage.center_of_mass(np.clip(shown, 0, 1)))
    np.testing.assert_allclose(found, [63.5, 103.5], atol=0.75)


def test_a_shrunken_picture_does_not_shimmer():
    """A fine checkerboard becomes grey: every pixel counts by its area."""
    frame = (np.indices((512, 512)).sum(0) % 2).astype(np.float32)[..., None].repeat(3, -1)
    shown = cut_out(frame, square((256, 256), 400), 0, 64)
    np.testing.assert_allclose(shown, 0.5, atol=0.01)


@pytest.mark.parametrize("centre", [(160.0, 120.0), (151.37, 99.81), (60.2, 180.9)])
@pytest.mark.parametrize(("side", "roll"), [(90.3, 0.0), (100.0, 0.0), (100.0, 0.35)])
def test_what_was_enlarged_comes_back_as_it_was(centre, side, roll):
    frame, path = soft_picture(), square(centre, side, roll)
    mask, (x, y) = mask_in_frame(path, 0, CropOptions(mask_margin=2.0))
    height, width = mask.shape
    back = put_back(cut_out(frame, path, 0, 512), path, 0, (x, y), mask.shape)
    error = np.square(back - frame[y : y + height, x : x + width])[mask > 0].mean()
    assert -10 * np.log10(error) >= 45


@pytest.mark.parametrize("box", [(0, 100, 100, 220), (20, 20, 100, 110), (560, 200, 660, 300)])
@pytest.mark.parametrize("roll", [0.3, -0.6])
@pytest.mark.parametrize("margin", [1.5, 3.0])
def test_a_leaning_face_at_the_border_comes_back_too(box, roll, margin):
    """There the square's middle is not the face's."""
    x0, y0, x1, y1 = box
    landmarks = np.full((5, 5, 2), np.nan)
    landmarks[:, 0], landmarks[:, 1] = (0, 0), (np.cos(roll), np.sin(roll))
    leaning = Track(0, np.array([box] * 5, float), np.ones(5, bool), landmarks, None, 0)
    options, frame = CropOptions(margin=margin, upright=True), soft_picture(shape=(360, 640), blur=3)
    path = plan_crop(leaning, (360, 640), options)
    mask, (x, y) = mask_in_frame(path, 2, options)
    back = put_back(cut_out(frame, path, 2, 512), path, 2, (x, y), mask.shape)
    assert back.shape == (*mask.shape, 3)
    error = np.square(back - frame[y : y + mask.shape[0], x : x + mask.shape[1]])[mask > 0]
    assert -10 * np.log10(error.mean()) >= 40


# --- the mask -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("roll", [0.0, 0.5])
def test_the_mask_is_the_same_in_the_square_and_in_the_picture(roll):
    path, options = square((150.3, 110.7), 120.4, roll), CropOptions()
    inside, (x, y) = mask_in_frame(path, 0, options)
    frame = np.zeros((*PICTURE, 3), np.float32)
    frame[y : y + inside.shape[0], x : x + inside.shape[1]] = inside[..., None]
    np.testing.assert_allclose(
        cut_out(frame, path, 0, 256)[..., 0], mask_in_crop(path, 0, 256, options), atol=0.05 if roll else 0.03
    )


@pytest.mark.parametrize("feather", [0.0, 0.4, 1.0])
def test_the_mask_covers_the_face_and_fades_out_before_the_square_ends(feather):
    mask = mask_in_crop(square((160, 120), 100), 0, 200, CropOptions(feather=feather, mask_margin=1.4))
    assert mask[100, 100] == pytest.approx(1, abs=0.01)
    assert mask.max() <= 1
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    assert not border.any()
    assert mask[100, 100 - 55] > 0  # half of 1.4 times 40 pixels, two of the square's to one of the picture's
    assert mask[100, 100 - 57] == 0
    wide = mask_in_crop(square((160, 120), 100), 0, 200, CropOptions(feather=feather, mask_margin=9.0))
    assert np.concatenate([wide[0], wide[-1], wide[:, 0], wide[:, -1]]).max() < 0.1


@pytest.mark.parametrize("margin", [1.2, 2.0, 6.0])
@pytest.mark.parametrize(
    ("middle", "border"),
    [
        ((0, 120), np.s_[120, :20]),
        ((-8, 120), np.s_[120, :20]),
        ((320, 120), np.s_[120, -20:]),
        ((160, 6), np.s_[:20, 160]),
        ((160, 240), np.s_[-20:, 160]),
    ],
)
def test_a_face_half_outside_is_drawn_up_to_the_picture_s_border(middle, border, margin):
    """There is nothing old beyond it that the new would have to fade into."""
    options = CropOptions(margin=margin)
    mask, (x, y) = mask_in_frame(plan_crop(track([middle] * 5, 80.0), PICTURE, options), 2, options)
    whole = np.zeros(PICTURE, np.float32)
    whole[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    np.testing.assert_allclose(whole[border], 1, atol=1e-6)


# --- colours --------------------------------------------------------------------------------------------


def test_a_face_lit_otherwise_is_given_the_light_around_it():
    old = np.stack([soft_picture(number, shape=(128, 128)) for number in range(6)])
    factor = np.array([1.1, 0.9, 1.05])
    new = to_srgb(np.clip(to_linear(old) / factor, 0, 1))
    masks = np.stack([mask_in_crop(square((64, 64), 128, face=60), 0, 128, CropOptions())] * 6)
    gains = colour_gains(old, new, masks)
    np.testing.assert_allclose(gains, np.broadcast_to(factor, (6, 3)), rtol=0.01)
    np.testing.assert_allclose(with_gains(new[0], gains[0]), old[0], atol=0.01)


def test_what_is_the_face_s_own_is_left_to_it():
    """Inside the mask a face may be of any colour."""
    old = np.full((3, 128, 128, 3), 0.5)
    mask = mask_in_crop(square((64, 64), 128, face=60), 0, 128, CropOptions(feather=0.1))
    new = np.where((mask == 1)[..., None], [0.9, 0.2, 0.1], old)
    np.testing.assert_allclose(colour_gains(old, new, np.stack([mask] * 3)), 1, atol=1e-3)


def to_srgb(light):
    """IEC 61966-2-1."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


def test_srgb_is_decoded_by_its_standard():
    np.testing.assert_allclose(to_linear(np.array([0, 0.04045, 0.5, 1])), [0, 0.0031308, 0.21404114, 1], atol=1e-6)
    values = np.linspace(0, 1, 100)
    np.testing.assert_allclose(to_srgb(to_linear(values)), values, atol=1e-6)


@pytest.mark.parametrize("gain", [0.8, 1.0, 1.25])
def test_gains_multiply_the_light(gain):
    """Against decoding, multiplying and encoding."""
    values = np.linspace(0, 1, 1001, dtype=np.float32)[:, None, None].repeat(3, -1)
    expected = to_srgb(np.clip(to_linear(values) * gain, 0, 1))
    np.testing.assert_allclose(with_gains(values, np.full(3, gain)), expected, atol=1e-3)
