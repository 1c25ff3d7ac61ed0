"""Laws of the samplers, on data whose ideal denoiser has a closed form.

For x0 ~ N(μ, s²) the ideal denoiser is x0(x, σ) = (s² x + σ² μ) / (s² + σ²), and the probability-flow ODE carries
x(σ) − μ in proportion to √(s² + σ²).
"""

import math

import pytest
import torch
from torch.testing import assert_close

from vcd_core.sampling import (
    SAMPLERS,
    DiscreteSchedule,
    classifier_free_guidance,
    ddim,
    dpmpp_2m,
    euler,
    euler_ancestral,
    inpainting,
    karras_sigmas,
    normal_sigmas,
    partial_sigmas,
    start_latents,
)

MEAN, DEVIATION = 0.7, 0.6


def ideal(x, sigma):
    return (DEVIATION**2 * x + sigma**2 * MEAN) / (DEVIATION**2 + sigma**2)


def flow(x, sigma, sigma_next):
    """Exact solution of the probability-flow ODE for the ideal denoiser."""
    return MEAN + (x - MEAN) * ((DEVIATION**2 + sigma_next**2) / (DEVIATION**2 + sigma**2)) ** 0.5


def geometric(steps, high=8.0, low=0.05):
    return torch.logspace(math.log10(high), math.log10(low), steps + 1, dtype=torch.float64)


def uneven(steps, high=8.0, low=0.05):
    """Steps that shrink, also on a logarithmic scale."""
    return geometric(1, high, low)[1] + (high - low) * torch.linspace(1, 0, steps + 1, dtype=torch.float64) ** 2


def error(sampler, steps, sigmas_of):
    x = torch.linspace(-9, 9, 7, dtype=torch.float64)
    sigmas = sigmas_of(steps)
    return (sampler(ideal, x, sigmas) - flow(x, sigmas[0], sigmas[-1])).abs().max().item()


@pytest.mark.parametrize("sigmas_of", [geometric, uneven])
@pytest.mark.parametrize(("sampler", "order"), [(euler, 1), (ddim, 1), (dpmpp_2m, 2)])
def test_order_of_convergence(sampler, order, sigmas_of):
    observed = math.log2(error(sampler, 160, sigmas_of) / error(sampler, 320, sigmas_of))
    assert observed == pytest.approx(order, abs=0.15)


def test_ancestral_sampling_reaches_the_data_distribution():
    generator = torch.Generator().manual_seed(0)
    sigmas = torch.cat([geometric(400, high=20.0), torch.zeros(1, dtype=torch.float64)])
    x = MEAN + (DEVIATION**2 + 20.0**2) ** 0.5 * torch.randn(20000, generator=generator, dtype=torch.float64)
    noise = lambda sigma, sigma_next: torch.randn(x.shape, generator=generator, dtype=torch.float64)  # noqa: E731
    samples = euler_ancestral(ideal, x, sigmas, noise_sampler=noise)
    assert samples.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert samples.std().item() == pytest.approx(DEVIATION, rel=0.03)


def wavy(x, sigma, **_):
    """A denoiser without structure to exploit."""
    return torch.sin(3 * x) / (1 + sigma)


@pytest.fixture
def start():
    return torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0)) * 14


@pytest.fixture
def sigmas():
    return karras_sigmas(DiscreteSchedule.from_betas("scaled_linear"), 12)


def test_ddim_agrees_with_the_paper_s_own_variables(start):
    """arXiv:2010.02502, equation 12, in ᾱ and variance-preserving x̃ = √ᾱ x."""
    schedule = DiscreteSchedule.from_betas("linear")
    timesteps = torch.tensor([900, 600, 300, 20])
    sigmas = schedule.sigmas[timesteps]
    eta = 0.5
    drawn = [torch.randn(start.shape, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    alpha = 1 / (1 + sigmas**2)
    x = start * alpha[0].sqrt()
    for i in range(3):
        now, after = alpha[i], alpha[i + 1]
        x0 = wavy(x / now.sqrt(), sigmas[i])
        epsilon = (x - now.sqrt() * x0) / (1 - now).sqrt()
        spread = eta * ((1 - after) / (1 - now)).sqrt() * (1 - now / after).sqrt()
        x = after.sqrt() * x0 + (1 - after - spread**2).sqrt() * epsilon + spread * drawn[i]
    queue = iter(drawn)
    ours = ddim(wavy, start, sigmas, eta=eta, noise_sampler=lambda *_: next(queue))
    assert_close(ours, x / alpha[-1].sqrt(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", SAMPLERS)
def test_ends_at_the_prediction_when_the_last_sigma_is_zero(name, start):
    options = {"noise_sampler": lambda *_: torch.randn_like(start)} if name == "euler_ancestral" else {}
    seen = []
    clip = SAMPLERS[name](
        wavy, start, torch.tensor([3.0, 1.0, 0.0]), callback=lambda step, x0: seen.append((step, x0)), **options
    )
    assert [step for step, _ in seen] == [0, 1]
    assert_close(clip, seen[-1][1])


def test_stochastic_ddim_asks_for_its_noise(start, sigmas):
    with pytest.raises(ValueError, match="noise_sampler"):
        ddim(wavy, start, sigmas, eta=1.0)


def test_schedules_have_the_published_ends():
    assert DiscreteSchedule.from_betas("scaled_linear").sigmas[-1].item() == pytest.approx(14.6146, abs=1e-3)
    assert DiscreteSchedule.from_betas("linear").sigmas[-1].item() == pytest.approx(25.1, abs=0.05)


@pytest.mark.parametrize("kind", ["scaled_linear", "linear"])
def test_schedules_are_diffusers_ones(kind):
    from diffusers import DDPMScheduler

    alphas = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule=kind).alphas_cumprod.double()
    assert_close(DiscreteSchedule.from_betas(kind).sigmas.double(), ((1 - alphas) / alphas).sqrt(), rtol=1e-4, atol=0)


def test_timestep_inverts_sigma():
    schedule = DiscreteSchedule.from_betas("scaled_linear")
    timesteps = torch.arange(0, 1000, 37)
    assert torch.equal(schedule.timestep(schedule.sigma(timesteps)), timesteps)


@pytest.mark.parametrize("sigmas_of", [karras_sigmas, normal_sigmas])
def test_sigmas_fall_from_the_schedule_s_top_to_zero(sigmas_of):
    schedule = DiscreteSchedule.from_betas("linear")
    sigmas = sigmas_of(schedule, 20)
    assert len(sigmas) == 21
    assert sigmas[0].item() == pytest.approx(schedule.sigmas[-1].item(), rel=1e-5)
    assert (sigmas.diff() < 0).all()
    assert sigmas[-1] == 0


@pytest.mark.parametrize(("strength", "total"), [(1.0, 20), (0.5, 40), (0.8, 25), (0.2, 100), (0.3, 66)])
def test_partial_denoising_takes_the_last_steps_of_a_longer_schedule(strength, total):
    schedule = DiscreteSchedule.from_betas("scaled_linear")
    sigmas_of = lambda steps: normal_sigmas(schedule, steps)  # noqa: E731
    assert torch.equal(partial_sigmas(sigmas_of, 20, strength), sigmas_of(total)[-21:])


def test_more_noise_than_a_step_leaves_room_for_is_cut_to_that(start):
    """Beyond it, what is left of the old noise would be the root of a negative number."""
    sigmas = geometric(4)
    noise = lambda sigma, sigma_next: torch.zeros(start.shape)  # noqa: E731
    assert torch.isfinite(euler_ancestral(wavy, start, sigmas, eta=3.0, noise_sampler=noise)).all()


def test_karras_sigmas_are_even_in_their_seventh_root():
    """Karras et al. 2022 (arXiv:2206.00364), equation 5 with rho 7."""
    roots = karras_sigmas(DiscreteSchedule.from_betas("linear"), 20)[:-1].double() ** (1 / 7)
    assert_close(roots.diff(), roots.diff().mean().expand(19), rtol=1e-4, atol=0)


def test_normal_sigmas_are_even_in_their_timesteps():
    schedule = DiscreteSchedule.from_betas("linear")
    expected = schedule.sigma(torch.linspace(999, 0, 20))
    assert_close(normal_sigmas(schedule, 20)[:-1], expected, rtol=1e-5, atol=0)


def test_strength_zero_takes_no_step_and_beyond_one_is_refused(start):
    nothing = partial_sigmas(lambda steps: torch.arange(steps, -1, -1), 20, 0.0)
    assert torch.equal(euler(wavy, start, nothing), start)
    with pytest.raises(ValueError, match="strength"):
        partial_sigmas(lambda steps: torch.arange(steps, -1, -1), 20, 1.5)


def test_start_has_the_variance_of_a_noised_clip():
    generator = torch.Generator().manual_seed(0)
    noise, clip = torch.randn(2, 100000, generator=generator)
    sigma = torch.tensor(3.0)
    for started in (start_latents(noise, sigma), start_latents(noise, sigma, clip)):
        assert started.std().item() == pytest.approx(math.sqrt(10), rel=0.01)


def test_guidance_extrapolates_from_unconditional_to_conditional():
    calls = []
    conditional = lambda x, sigma: x + 1  # noqa: E731
    unconditional = lambda x, sigma: calls.append(1) or x * 2  # noqa: E731
    x = torch.tensor([2.0])
    assert classifier_free_guidance(conditional, unconditional, 7.5)(x, x) == 4 + 7.5 * (3 - 4)
    calls.clear()
    assert classifier_free_guidance(conditional, unconditional, 1.0)(x, x) == 3
    assert not calls


# --- a part of a clip -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", [euler, dpmpp_2m])
def test_inpainting_leaves_what_is_known_and_draws_the_rest_as_if_alone(sampler):
    """Where the denoiser acts pixel by pixel, the parts do not disturb each other."""
    generator = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(3, 4, 8, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    mask = torch.zeros(3, 1, 8, 8, dtype=torch.float64)
    mask[:, :, :, 3:] = 1
    sigmas = torch.cat([geometric(12), torch.zeros(1, dtype=torch.float64)])
    start = start_latents(noise, sigmas[0], latents)
    result = sampler(inpainting(ideal, latents, noise, mask), start, sigmas)
    assert_close(result[..., :3], latents[..., :3])
    assert_close(result[..., 3:], sampler(ideal, start, sigmas)[..., 3:])


def test_inpainting_shows_the_model_the_known_part_at_every_noise_level():
    """A denoiser that looks at the neighbour sees the clip there, noised with its own noise."""
    seen = []

    def watching(x, sigma):
        seen.append((x[..., 0].clone(), sigma))
        return 0 * x

    latents, noise = torch.ones(1, 1, 2, 2, dtype=torch.float64), torch.full((1, 1, 2, 2), 0.5, dtype=torch.float64)
    mask = torch.tensor([0.0, 1.0], dtype=torch.float64).expand(1, 1, 2, 2)
    euler(inpainting(watching, latents, noise, mask), start_latents(noise, 8.0, latents), geometric(5))
    for x, sigma in seen:
        assert_close(x, 1 + 0.5 * sigma.expand_as(x))
