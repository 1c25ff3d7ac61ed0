"""Laws of the 3D Gaussian noise prior."""

import math

import pytest
import torch
from scipy import stats
from torch.testing import assert_close

from vcd_core.noise import correlate, correlated_noise

FRAMES = 6
every_gamma = pytest.mark.parametrize("gamma", [0.0, 0.05, 0.15, 0.5, 0.95, 1.0])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@every_gamma
def test_covariance_decays_geometrically_with_frame_distance(gamma):
    chains = correlated_noise((FRAMES, 4, 128, 256), gamma, seeded()).flatten(1).double()  # (F, N)
    n = chains.shape[1]
    frame = torch.arange(FRAMES)
    expected = torch.tensor(gamma).double() ** (frame[:, None] - frame[None, :]).abs()
    # For standard normals Var(xy) = 1 + ρ² ≤ 2, so no entry's standard error exceeds √(2/N).
    assert_close(chains @ chains.T / n, expected, rtol=0, atol=5 * math.sqrt(2 / n))


@every_gamma
def test_every_frame_alone_is_standard_normal(gamma):
    for frame in correlated_noise((FRAMES, 4, 64, 64), gamma, seeded(1)):
        assert stats.kstest(frame.flatten().numpy(), "norm").pvalue > 1e-4


@every_gamma
def test_sums_over_frames_are_normal_with_the_prior_s_variance(gamma):
    """Joint Gaussianity shows in a linear combination: it is normal with variance wᵀΣw."""
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0, -1.0, 1.0]).double()
    frame = torch.arange(FRAMES)
    covariance = torch.tensor(gamma).double() ** (frame[:, None] - frame[None, :]).abs()
    scale = math.sqrt(weights @ covariance @ weights)
    chains = correlated_noise((FRAMES, 4, 64, 64), gamma, seeded(2)).flatten(1).double()
    assert stats.kstest((weights @ chains).numpy() / scale, "norm").pvalue > 1e-4


@every_gamma
def test_channels_and_pixels_are_independent_across_all_frames(gamma):
    noise = correlated_noise((FRAMES, 4, 96, 96), gamma, seeded(3)).double()
    tolerance = 5 / math.sqrt(96 * 95)
    for m in range(FRAMES):
        for n in range(FRAMES):
            assert abs((noise[m, 0] * noise[n, 1]).mean()) < tolerance
            assert abs((noise[m, 2, :, 1:] * noise[n, 2, :, :-1]).mean()) < tolerance
            assert abs((noise[m, 2, 1:] * noise[n, 2, :-1]).mean()) < tolerance


def test_gamma_one_repeats_the_first_frame_exactly():
    noise = correlated_noise((FRAMES, 4, 8, 8), 1.0, seeded())
    assert torch.equal(noise, noise[:1].expand_as(noise))


@pytest.mark.parametrize("size", [(8, 8), (5, 4), (64, 36)])
def test_gamma_zero_is_torch_randn_of_the_whole_clip(size):
    assert torch.equal(
        correlated_noise((FRAMES, 4, *size), 0.0, seeded(7)), torch.randn(FRAMES, 4, *size, generator=seeded(7))
    )


@every_gamma
@pytest.mark.parametrize("cut", [1, 3, 5])
def test_a_clip_may_be_cut_anywhere(gamma, cut):
    whole = correlated_noise((FRAMES, 4, 8, 8), gamma, seeded())
    generator = seeded()
    first = correlated_noise((cut, 4, 8, 8), gamma, generator)
    second = correlated_noise((FRAMES - cut, 4, 8, 8), gamma, generator, previous=first[-1])
    assert torch.equal(torch.cat([first, second]), whole)


@every_gamma
def test_drawing_equals_correlating_white_noise(gamma):
    white = torch.randn(FRAMES, 4, 8, 8, generator=seeded())
    before = white.clone()
    assert torch.equal(correlate(white, gamma), correlated_noise((FRAMES, 4, 8, 8), gamma, seeded()))
    assert torch.equal(white, before)


@every_gamma
def test_correlate_continues_a_chain(gamma):
    white = torch.randn(FRAMES, 3, generator=seeded())
    whole = correlate(white, gamma)
    assert torch.equal(torch.cat([whole[:2], correlate(white[2:], gamma, whole[1])]), whole)


def test_the_generator_is_the_only_source_of_randomness():
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = correlated_noise((FRAMES, 4, 8, 8), 0.3, seeded(5))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(first, correlated_noise((FRAMES, 4, 8, 8), 0.3, seeded(5)))
    assert not torch.equal(first, correlated_noise((FRAMES, 4, 8, 8), 0.3, seeded(6)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_another_dtype_is_the_float32_chain_rounded(dtype):
    chain = correlated_noise((FRAMES, 4, 8, 8), 0.5, seeded())
    assert torch.equal(correlated_noise((FRAMES, 4, 8, 8), 0.5, seeded(), dtype=dtype), chain.to(dtype))


@pytest.mark.parametrize("gamma", [-0.01, 1.01, math.nan])
def test_gamma_outside_the_unit_interval_is_refused(gamma):
    with pytest.raises(ValueError, match="gamma must lie in"):
        correlated_noise((2, 4, 8, 8), gamma, seeded())
    with pytest.raises(ValueError, match="gamma must lie in"):
        correlate(torch.zeros(2, 4), gamma)


def test_a_previous_frame_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="previous must be one frame"):
        correlated_noise((2, 4, 8, 8), 0.5, seeded(), previous=torch.zeros(1, 4, 8, 8))
