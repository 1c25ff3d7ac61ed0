"""Scores of features: what they say of clips whose answer is known."""

import math

import pytest
import torch
import torch.nn.functional as F

from vcd_core.metrics import leakage, neighbour_similarity, pair_similarity, reference_similarity, text_similarity

FRAMES, REFERENCES, WIDTH = 6, 4, 16


@pytest.fixture
def frames(rng):
    return torch.randn(FRAMES, WIDTH, generator=rng)


@pytest.fixture
def references(rng):
    return torch.randn(REFERENCES, WIDTH, generator=rng)


def at_angles(*degrees: float) -> torch.Tensor:
    """Features of two numbers, of various lengths, at these angles."""
    angles = torch.tensor(degrees).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], 1) * (1 + torch.arange(len(degrees)))[:, None]


def test_pairs_are_compared_by_their_angle_alone():
    expected = torch.tensor([[0.0, 60.0], [90.0, 30.0], [180.0, 120.0]]).deg2rad().cos().double()
    found = pair_similarity(at_angles(0, 90, 180), at_angles(0, 60))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_the_mean_over_frames_is_the_mean_over_all_pairs(frames, references):
    pairs = torch.stack([F.cosine_similarity(frame[None], references) for frame in frames])
    found = reference_similarity(frames, references)
    torch.testing.assert_close(found, pairs.mean(1).double(), rtol=0, atol=1e-6)
    assert found.mean().item() == pytest.approx(pairs.mean().item())


def test_identical_pictures_score_one_and_opposite_ones_minus_one():
    same = at_angles(20, 20, 20)
    assert torch.allclose(reference_similarity(same, same[:2]), torch.ones(3).double())
    assert torch.allclose(neighbour_similarity(same), torch.ones(2).double())
    assert torch.allclose(text_similarity(same, -same[0]), -torch.ones(3).double())


def test_the_order_of_frames_matters_to_smoothness_alone(frames, references, rng):
    order = torch.randperm(FRAMES, generator=rng)
    assert torch.equal(reference_similarity(frames[order], references), reference_similarity(frames, references)[order])
    assert neighbour_similarity(frames[order]).mean() != pytest.approx(neighbour_similarity(frames).mean().item())
    assert torch.allclose(neighbour_similarity(frames.flip(0)), neighbour_similarity(frames).flip(0))


@pytest.mark.parametrize("steps", [1, 4, 100])
def test_a_fade_is_as_smooth_as_its_steps_are_small(steps):
    """Features that turn by a right angle in equal steps."""
    fade = at_angles(*(90 * step / steps for step in range(steps + 1)))
    expected = torch.full((steps,), math.cos(math.pi / 2 / steps)).double()
    torch.testing.assert_close(neighbour_similarity(fade), expected, rtol=0, atol=1e-6)


def test_independent_noise_is_like_nothing(rng):
    """Cosines of white noise have mean 0 and variance 1/D."""
    noise = torch.randn(2000, 400, generator=rng)
    for found in (neighbour_similarity(noise), pair_similarity(noise[:100], noise[100:]).flatten()):
        assert abs(found.mean()) < 5 / math.sqrt(len(found) * 400)
        assert found.var().item() == pytest.approx(1 / 400, rel=0.2)


def test_what_shows_nothing_takes_no_part(frames, references):
    blind = references.clone()
    blind[1] = torch.nan
    expected = reference_similarity(frames, references[[0, 2, 3]])
    torch.testing.assert_close(reference_similarity(frames, blind), expected)


def test_a_background_leaks_as_far_as_it_is_more_like_the_references_than_like_others(frames, references, rng):
    unrelated = torch.randn(3, WIDTH, generator=rng)
    assert torch.allclose(leakage(frames, references, references), torch.zeros(FRAMES).double())
    assert torch.equal(leakage(frames, references, unrelated), -leakage(frames, unrelated, references))
    assert leakage(at_angles(0), at_angles(0), at_angles(90)).item() == pytest.approx(1)
    assert leakage(at_angles(90), at_angles(0), at_angles(90)).item() == pytest.approx(-1)


def test_the_more_of_the_references_room_the_more_leaks():
    room, elsewhere = torch.eye(2)[:1], torch.eye(2)[1:]
    shares = [0.0, 0.3, 0.6, 1.0]
    found = [leakage(share * room + (1 - share) * elsewhere, room, elsewhere).item() for share in shares]
    assert found == sorted(found)
    assert found[-1] - found[0] == pytest.approx(2)
