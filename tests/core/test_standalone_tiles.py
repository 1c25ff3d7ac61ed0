"""Tiled VCD with diffusers, on a narrow model of random weights."""

import pytest
import torch
from torch.testing import assert_close

from benchmarks.harness import peak_live_bytes
from vcd_core.standalone.pipeline import Sampling
from vcd_core.standalone.tiles import TileOptions, enlarged_by, refine_in_tiles, tile_refiner

pytestmark = pytest.mark.usefixtures("one_thread")

CLIP = torch.rand(3, 64, 48, 3, generator=torch.Generator().manual_seed(0))
SAMPLING = Sampling(steps=2, cfg=2.0)
TILES = TileOptions(upscale_by=1.0, strength=0.5, tile=40, overlap=16, window=2, window_overlap=1)


def refined(model, clip=CLIP, sampling=SAMPLING, motion=None, progress=lambda: None, **changes):
    options = TileOptions(**(vars(TILES) | changes))
    return refine_in_tiles(model, clip, ["a woman"], [""], sampling, options, motion, progress)


def test_strength_nought_gives_the_enlarged_clip_bit_by_bit(model):
    assert torch.equal(refined(None, strength=0.0, upscale_by=1.5), enlarged_by(CLIP, 1.5))
    assert enlarged_by(CLIP, 1.5).shape == (3, 96, 72, 3)
    assert torch.equal(refined(None, strength=0.0), CLIP)


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "euler_ancestral"])
def test_a_canvas_of_one_tile_is_drawn_alike_together_and_one_after_another(model, sampler):
    whole = {"tile": 64, "window": 16}
    sampling = Sampling(2, 2.0, sampler)
    together = refined(model, sampling=sampling, **whole)
    assert torch.equal(refined(model, sampling=sampling, together=False, **whole), together)
    assert (together - CLIP).abs().mean() > 0.01


@pytest.mark.parametrize("together", [True, False])
def test_tiles_draw_the_clip_anew(model, together):
    steps = []
    made = refined(model, progress=lambda: steps.append(1), together=together)
    assert made.shape == CLIP.shape
    assert 0 <= made.min() < made.max() <= 1
    assert (made - CLIP).abs().mean() > 0.01
    assert len(steps) == SAMPLING.steps * (1 if together else 2 * 2 * 2)
    assert torch.equal(refined(model, together=together), made)
    assert (refined(model, sampling=Sampling(2, 2.0, seed=1), together=together) - made).abs().mean() > 0.001


def test_frames_that_do_not_see_each_other_do_not_notice_the_windows(model):
    assert_close(refined(model, tile=64), refined(model, tile=64, window=16), rtol=0, atol=2e-4)


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "euler_ancestral"])
@pytest.mark.parametrize("gamma", [0.0, 0.5])
def test_pieces_of_a_clip_agree_on_the_frames_that_they_share(model, sampler, gamma):
    """Where frames do not see each other, pieces change nothing: their noise is one chain, at every step."""
    clip = torch.rand(7, 64, 64, 3, generator=torch.Generator().manual_seed(1))
    options = TileOptions(upscale_by=1.0, strength=0.5, tile=64, overlap=8)

    def refine():
        return tile_refiner(model, ["a woman"], [""], Sampling(2, 2.0, sampler, gamma=gamma), options)

    whole, in_parts = refine()(clip, range(7)), refine()
    for span in (range(0, 4), range(2, 6), range(5, 7)):
        made = in_parts(clip[span.start : span.stop], span)
        assert_close(made, whole[span.start : span.stop], rtol=0, atol=2e-4)


def test_beside_a_clip_and_what_is_made_of_it_no_further_copy_is_held(model):
    """By how much more is held for more frames of one window after the other, each of them for itself."""

    def held(frames):
        clip = torch.rand(frames, 64, 64, 3)
        options = {"tile": 64, "window": 1, "window_overlap": 0}
        return peak_live_bytes(lambda: refined(model, clip, Sampling(1, 1.0), **options))

    assert held(12) - held(6) < 1.3 * 6 * 64 * 64 * 3 * 4


@pytest.mark.parametrize("size", [(64, 67), (65, 70)])
def test_odd_sizes_come_back_as_they_were(model, size):
    clip = torch.rand(1, *size, 3)
    assert refined(model, clip).shape == clip.shape


def test_a_picture_too_small_for_the_model_is_said(model):
    with pytest.raises(ValueError, match="64x20 is too small to be drawn anew"):
        refined(model, torch.rand(1, 20, 64, 3))


def test_the_motion_module_joins_the_frames_of_a_window(model, motion):
    changed = CLIP.clone()
    changed[2] = 1 - changed[2]
    apart = [refined(model, clip, window=3, tile=64)[0] for clip in (CLIP, changed)]
    joined = [refined(model, clip, window=3, tile=64, motion=motion)[0] for clip in (CLIP, changed)]
    assert_close(*apart, rtol=0, atol=1e-5)
    assert (joined[0] - joined[1]).abs().max() > 1e-3


def test_sizes_need_not_be_divisible_by_8(model):
    assert refined(model, CLIP[:, :53, :41]).shape == (3, 53, 41, 3)
    assert refined(model, CLIP[:, :53, :41], upscale_by=1.2).shape == (3, 64, 49, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strength": 1.5}, "strength must lie in"),
        ({"tile": 44}, "multiples of 8 pixels, not 44 and 16"),
        ({"overlap": 40}, "windows of 5 cannot overlap by 5"),
        ({"window_overlap": 2}, "windows of 2 cannot overlap by 2"),
    ],
)
def test_what_makes_no_sense_is_refused(model, changes, message):
    with pytest.raises(ValueError, match=message):
        refined(model, **changes)
