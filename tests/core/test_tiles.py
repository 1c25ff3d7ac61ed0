"""Tiles and windows: they cover a clip, their shares add up to 1, and what is denoised in parts is one picture."""

import math
import re
import tracemalloc

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from vcd_core.noise import correlated_noise
from vcd_core.sampling import SAMPLERS, DiscreteSchedule, karras_sigmas, start_latents
from vcd_core.sampling.windows import spread_windows, window_shares
from vcd_core.tiles import Cut, Tile, TilePlan, check_clip_fits, one_after_another, tiled

SIGMAS = karras_sigmas(DiscreteSchedule.from_betas("scaled_linear"), 6)


@st.composite
def cuts(draw):
    size = draw(st.integers(0, 12))
    return Cut(size, draw(st.integers(0, size - 1))) if size else Cut()


@st.composite
def plans(draw):
    shape = tuple(draw(st.integers(1, 24)) for _ in range(3))
    return TilePlan(shape, draw(cuts()), draw(cuts()), draw(cuts()))


@settings(deadline=None, max_examples=60)
@given(plans())
def test_the_shares_of_all_tiles_add_up_to_one(plan):
    whole = torch.zeros(plan.shape[0], 1, *plan.shape[1:])
    for tile in plan:
        shares = plan.shares(tile)
        assert shares.shape == (len(tile.frames), 1, len(tile.rows), len(tile.columns))
        assert shares.min() > 0
        tile.of(whole).add_(shares)
    assert_close(whole, torch.ones_like(whole), rtol=0, atol=1e-6)


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 40), st.integers(0, 39))
def test_windows_are_of_one_size_and_share_what_is_asked(length, size, overlap):
    if overlap >= size:
        with pytest.raises(ValueError, match="cannot overlap"):
            spread_windows(length, size, overlap)
        return
    windows = spread_windows(length, size, overlap)
    assert (windows[0].start, windows[-1].stop) == (0, length)
    assert {len(window) for window in windows} == {min(size, length)}
    shared = [one.stop - two.start for one, two in zip(windows, windows[1:], strict=False)]
    assert all(common >= overlap for common in shared)
    assert len(windows) == 1 or (len(windows) - 1) * (size - overlap) < length - overlap  # one fewer would not do


def test_the_windows_of_a_long_clip_take_memory_in_proportion_to_its_length():
    def peak(length):
        tracemalloc.start()
        window_shares(spread_windows(length, 16, 4), 4)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(10_000) < 12 * peak(1000)  # a table of windows times frames would take a hundred times as much


@pytest.mark.parametrize(("side", "tiles", "overlap"), [(128, 2, 8), (128, 2, 0), (96, 3, 4), (65, 2, 3), (64, 1, 8)])
def test_a_grid_has_so_many_tiles_on_each_side(side, tiles, overlap):
    plan = TilePlan.grid((16, side, side), tiles, tiles, overlap)
    assert len(plan) == tiles**2
    rows, columns = plan.borders()
    assert len(rows) == len(columns) == (2 * (tiles - 1) if overlap or side % tiles else tiles - 1)


def test_the_papers_tiles_are_four_of_about_512():
    """A canvas of 1024, in latents; 64 pixels are shared."""
    sizes = {tile.shape for tile in TilePlan.grid((16, 128, 128), 2, 2, 8)}
    assert sizes == {(16, 68, 68)}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_denoiser_that_looks_at_each_pixel_alone_does_not_notice_the_tiles(sampler, rng):
    noise = correlated_noise((12, 4, 20, 28), 0.2, rng)
    mean = torch.randn(12, 4, 20, 28, generator=rng)
    plan = TilePlan((12, 20, 28), Cut(5, 2), Cut(8, 3), Cut(10, 1))

    def of_gaussian(mean):
        """x0 of data that is normal about a mean with a spread of 0.5."""
        return lambda x, sigma: mean + 0.25 / (0.25 + sigma**2) * (x - mean)

    def denoise_tile(x, sigma, tile):
        return of_gaussian(tile.of(mean))(x, sigma)

    def run(denoise):
        steps = torch.Generator().manual_seed(1)
        extra = (
            {"noise_sampler": lambda *_: torch.randn(noise.shape, generator=steps)} if "ancestral" in sampler else {}
        )
        return SAMPLERS[sampler](denoise, start_latents(noise, SIGMAS[0]), SIGMAS, **extra)

    assert_close(run(tiled(denoise_tile, plan)), run(of_gaussian(mean)), rtol=0, atol=1e-5)


def test_tiles_that_overlap_start_from_the_same_noise(rng):
    """By what a denoiser is shown: wherever two tiles share a pixel, they are shown one value."""
    noise = correlated_noise((10, 4, 16, 16), 0.3, rng)
    plan, shown = TilePlan((10, 16, 16), Cut(6, 3), Cut(10, 4), Cut(10, 4)), torch.full((10, 4, 16, 16), torch.nan)
    twice = 0

    def denoise(x, sigma, tile):
        nonlocal twice
        before = tile.of(shown)
        known = ~before.isnan()
        twice += int(known.sum())
        assert torch.equal(before[known], x[known])
        tile.of(shown).copy_(x)
        return x

    tiled(denoise, plan)(start_latents(noise, SIGMAS[0]), SIGMAS[0])
    assert not shown.isnan().any()
    assert twice > 10 * 4 * 16 * 16


def test_one_tile_fades_into_the_next_over_all_that_they_share():
    """With a denoiser that shifts each tile by a level of its own, as a real one does by what it cannot see."""
    plan = TilePlan.grid((2, 32, 32), 2, 2, 8)
    levels = {tile: float(number) for number, tile in enumerate(plan)}
    blended = tiled(lambda x, sigma, tile: torch.full_like(x, levels[tile]), plan)(torch.zeros(2, 4, 32, 32), SIGMAS[0])
    for axis, step in ((3, 1), (2, 2)):  # between levels to the right and below
        changes = blended.diff(dim=axis).transpose(axis, 0)
        assert changes.max() < step * math.pi / 2 / 8  # the steepest of sin² over what they share
        assert changes.min() >= -1e-6
        assert changes[[11, 19]].max() < step / 100  # where a tile begins and where one ends
    assert (blended[0, 0, 0, 0], blended[0, 0, -1, -1]) == (0, 3)


def test_a_tile_drawn_alone_fades_where_others_go_on_and_not_where_the_clip_ends():
    plan = TilePlan((1, 20, 20), height=Cut(12, 4), width=Cut(12, 4))
    ramp = torch.tensor([1.0] * 8 + [0.8, 0.6, 0.4, 0.2])
    assert_close(plan.fades(Tile(range(1), range(12), range(12)))[0, 0], ramp[:, None] * ramp)
    assert_close(plan.fades(Tile(range(1), range(8, 20), range(12)))[0, 0], ramp.flip(0)[:, None] * ramp)


def test_one_after_another_sees_what_was_made_before(rng):
    latents, noise = torch.randn(2, 3, 4, 12, 12, generator=rng)
    plan = TilePlan.grid((3, 12, 12), 2, 2, 4)
    kept = latents.clone()
    assert_close(one_after_another(lambda part, *_: part, latents, noise, plan), latents)
    seen = []

    def brighter(part, noise_of_it, tile):
        assert torch.equal(noise_of_it, tile.of(noise))
        seen.append((part - tile.of(kept)).abs().max())
        return part + 1

    one_after_another(brighter, latents, noise, plan)
    assert torch.equal(latents, kept)
    assert seen[0] == 0
    assert all(change > 0.5 for change in seen[1:])


def test_a_hint_of_one_picture_is_for_every_frame():
    hint = torch.arange(64 * 64.0).view(1, 1, 64, 64)
    part = Tile(range(3, 5), range(1, 3), range(2, 4)).of(hint, scale=8)
    assert torch.equal(part, hint[:, :, 8:24, 16:32])


@pytest.mark.parametrize(("cut", "message"), [(Cut(8, 8), "cannot overlap by 8"), (Cut(8, -1), "cannot overlap by -1")])
def test_an_overlap_that_leaves_nothing_is_refused(cut, message):
    with pytest.raises(ValueError, match=message):
        TilePlan((4, 32, 32), height=cut)


def test_a_tile_larger_than_the_canvas_is_the_canvas():
    plan = TilePlan((4, 20, 30), Cut(16, 4), Cut(64, 8), Cut(64, 8))
    assert [tile.shape for tile in plan] == [(4, 20, 30)]
    assert plan.borders() == ([], [])


@pytest.mark.parametrize("copies", [1.0, 1.5, 3.0])
@pytest.mark.parametrize("free", [10**7, 10**8])
def test_what_is_advised_when_memory_is_short_fits(free, copies):
    with pytest.raises(ValueError, match="are free") as complaint:
        check_clip_fits(500, 600, 800, free, copies, "a clip")
    frames = re.search(r"a clip of at most (\d+) frames", str(complaint.value))
    width, height = map(int, re.search(r"no larger than (\d+)x(\d+)", str(complaint.value)).groups())
    check_clip_fits(500, height, width, free, copies)
    if frames:
        check_clip_fits(int(frames[1]), 600, 800, free, copies)
        with pytest.raises(ValueError, match="are free"):
            check_clip_fits(int(frames[1]) + 1, 600, 800, free, copies)
