"""The comparison of ways to learn a token: what each way is, and what is counted."""

import numpy as np
import pytest
import torch
from random_pipeline import random_model
from torch.testing import assert_close

from demo import compare, measure
from demo.people import PHOTO_PLACES, photos
from demo.reader import Reading

WIDTH = 192


def test_a_levelled_model_is_the_plain_one_at_each_level_with_that_level_s_vectors():
    model = random_model(0)
    levelled = compare.LevelledModel(**vars(model), levels=3)
    vectors = torch.randn(3, 4, WIDTH, generator=torch.Generator().manual_seed(0))
    timesteps = torch.tensor([0, 333, 334, 666, 667, 999])
    noised = torch.randn(6, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        context = levelled.encode_pieces(["a ", vectors.flatten(0, 1), " cat"])
        found = levelled.predict_noise(noised, timesteps, context.expand(6, -1, -1))
        for row, level in enumerate((0, 0, 1, 1, 2, 2)):
            plain = model.encode_pieces(["a ", vectors[level], " cat"])[None]
            expected = model.predict_noise(noised[[row]], timesteps[[row]], plain)
            assert_close(found[[row]], expected, rtol=0, atol=1e-5)


def test_every_level_s_vectors_are_learned():
    model = compare.LevelledModel(**vars(random_model(0)), levels=2)
    vectors = torch.randn(4, WIDTH).requires_grad_()
    context = model.encode_pieces(["a ", vectors, " cat"]).expand(2, -1, -1)
    model.predict_noise(torch.randn(2, 4, 8, 8), torch.tensor([100, 900]), context).square().sum().backward()
    assert (vectors.grad.abs().sum(dim=1) > 0).all()


def test_what_is_counted():
    """Nobody found, in a place of the photos half of the time, once in the right one."""
    places = [PHOTO_PLACES[0]] * 5 + [measure.PROMPTS[5].split("{} ")[1]] + ["nowhere"] * 4
    kept = [Reading(None, False, place) for place in places]
    assert compare.figures_of(0, compare.WAYS["ours"], kept) == (0.0, 0.1, 0.5)
    assert compare.figures_of(0, compare.Way(places=PHOTO_PLACES[1:]), kept) == (0.0, 0.1, 0.0)


def test_an_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        low, high = compare.interval(rng.normal(0.3, 1, 30), rng).split("[")[1].rstrip("]").split(",")
        covered += float(low) <= 0.3 <= float(high)
    assert covered / 200 == pytest.approx(0.95, abs=0.05)


def test_photos_of_one_place_differ_in_the_place_alone():
    look = compare.character(0)
    here, there = (list(photos(look, 0, places=[place])) for place in PHOTO_PLACES[:2])
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(here, there, strict=True))
    assert not any(np.array_equal(a.image, b.image) for a, b in zip(here, there, strict=True))
