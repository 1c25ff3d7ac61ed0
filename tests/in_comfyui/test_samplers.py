"""Our samplers and noise against ComfyUI's own."""

import inspect
from types import SimpleNamespace

import comfy.samplers
import pytest
import torch
from comfy.k_diffusion import sampling as k_diffusion
from comfy.model_sampling import EPS, ModelSamplingDiscrete
from comfy.sample import prepare_noise
from torch.testing import assert_close
from vcd_pack.nodes.host.noise import CorrelatedNoiseSource
from vcd_pack.nodes.host.sampling import correlated_sampler
from vcd_pack.vcd_core.noise import correlate
from vcd_pack.vcd_core.sampling import (
    DiscreteSchedule,
    dpmpp_2m,
    euler,
    euler_ancestral,
    karras_sigmas,
    normal_sigmas,
    partial_sigmas,
)


class Sampling(ModelSamplingDiscrete, EPS):
    """What a Stable Diffusion 1.5 model has as its model_sampling."""


def wavy(x, sigma, **_):
    """A denoiser without structure to exploit."""
    return torch.sin(3 * x) / (1 + torch.as_tensor(sigma).view(-1, *[1] * (x.ndim - 1)))


@pytest.fixture
def start():
    return torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0)) * 14


@pytest.fixture
def sigmas():
    return karras_sigmas(DiscreteSchedule.from_betas("scaled_linear"), 12)


@pytest.mark.parametrize(
    ("ours", "theirs"), [(euler, k_diffusion.sample_euler), (dpmpp_2m, k_diffusion.sample_dpmpp_2m)]
)
def test_samplers_agree(ours, theirs, start, sigmas):
    assert_close(ours(wavy, start, sigmas), theirs(wavy, start, sigmas, disable=True), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_ancestral_samplers_agree(eta, start, sigmas):
    def noise():
        generator = torch.Generator().manual_seed(1)
        return lambda sigma, sigma_next: torch.randn(start.shape, generator=generator)

    theirs = k_diffusion.sample_euler_ancestral(
        Denoiser(wavy), start, sigmas, eta=eta, noise_sampler=noise(), disable=True, extra_args={"model_options": {}}
    )
    assert_close(euler_ancestral(wavy, start, sigmas, eta=eta, noise_sampler=noise()), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("ours", "theirs"), [("scaled_linear", "linear"), ("linear", "sqrt_linear")])
def test_schedules_agree(ours, theirs):
    sampling = Sampling()
    sampling._register_schedule(beta_schedule=theirs, timesteps=1000, linear_start=0.00085, linear_end=0.012)
    schedule = DiscreteSchedule.from_betas(ours)
    assert_close(schedule.sigmas, sampling.sigmas, rtol=1e-5, atol=0)
    for name, sigmas_of in (("normal", normal_sigmas), ("karras", karras_sigmas)):
        assert_close(sigmas_of(schedule, 17), comfy.samplers.calculate_sigmas(sampling, name, 17), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("strength", [1.0, 0.8, 0.35, 0.3, 0.0])
def test_partial_denoising_means_what_comfyui_s_denoise_means(narrow, strength):
    model, _ = narrow
    theirs = comfy.samplers.KSampler(model, 20, torch.device("cpu"), "euler", "normal", strength).sigmas
    schedule = DiscreteSchedule(model.get_model_object("model_sampling").sigmas)
    ours = partial_sigmas(lambda steps: normal_sigmas(schedule, steps), 20, strength)
    assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(6, 4, 8, 8), (3, 4, 10, 6), (1, 16, 5, 8, 12), (2, 16, 3, 7, 9)])
@pytest.mark.parametrize("seed", [0, 2**64 - 1])
def test_at_gamma_zero_the_noise_is_comfyui_s(shape, seed):
    latent = {"samples": torch.zeros(shape)}
    ours = CorrelatedNoiseSource(seed, 0.0).generate_noise(latent)
    assert torch.equal(ours, prepare_noise(latent["samples"], seed))


def test_video_latents_are_correlated_over_time_and_nothing_else():
    latent = {"samples": torch.zeros(2, 16, 7, 8, 12)}
    noise = CorrelatedNoiseSource(5, 0.6).generate_noise(latent)
    white = prepare_noise(latent["samples"], 5)
    for b in range(2):
        assert_close(noise[b].movedim(1, 0), correlate(white[b].movedim(1, 0), 0.6))


@pytest.mark.parametrize("picked", [[4, 1, 4], [1, 0], [0, 0, 2], [0, 1, 2]])
def test_a_batch_index_picks_frames_of_the_same_chain(picked):
    latent = {"samples": torch.zeros(len(picked), 4, 8, 8), "batch_index": picked}
    chain = CorrelatedNoiseSource(3, 0.5).generate_noise({"samples": torch.zeros(6, 4, 8, 8)})
    assert torch.equal(CorrelatedNoiseSource(3, 0.5).generate_noise(latent), chain[picked])
    theirs = prepare_noise(latent["samples"], 3, picked)
    assert torch.equal(CorrelatedNoiseSource(3, 0.0).generate_noise(latent), theirs)


def test_a_batch_index_picks_whole_videos():
    latent = {"samples": torch.zeros(2, 16, 3, 8, 8), "batch_index": [2, 0]}
    theirs = prepare_noise(latent["samples"], 3, [2, 0])
    assert torch.equal(CorrelatedNoiseSource(3, 0.0).generate_noise(latent), theirs)


def test_noise_leaves_the_global_generator_alone():
    torch.manual_seed(9)
    state = torch.random.get_rng_state()
    CorrelatedNoiseSource(3, 0.5).generate_noise({"samples": torch.zeros(2, 4, 8, 8)})
    assert torch.equal(torch.random.get_rng_state(), state)


def test_other_latents_are_refused():
    with pytest.raises(ValueError, match="RandomNoise"):
        CorrelatedNoiseSource(0, 0.1).generate_noise({"samples": torch.zeros(2, 4, 8)})


def test_gamma_outside_its_range_is_refused():
    with pytest.raises(ValueError, match="gamma must lie in"):
        CorrelatedNoiseSource(0, 1.5).generate_noise({"samples": torch.zeros(2, 4, 8, 8)})


SAMPLERS = {name: comfy.samplers.sampler_object(name) for name in comfy.samplers.KSampler.SAMPLERS}
TAKES_NOISE = [
    name
    for name, sampler in SAMPLERS.items()
    if "noise_sampler" in inspect.signature(sampler.sampler_function).parameters
]
WITHOUT_NOISE = {"res_multistep", "res_multistep_cfg_pp", "exp_heun_2_x0"}  # they take a sampler and never call it


class Denoiser:
    """What ComfyUI's samplers know of a model, around any denoise function."""

    def __init__(self, denoise):
        sampling = Sampling()
        patcher = SimpleNamespace(get_model_object=lambda name: sampling)
        self.denoise = denoise
        self.inner_model = SimpleNamespace(inner_model=SimpleNamespace(model_sampling=sampling), model_patcher=patcher)

    def __call__(self, x, sigma, **_):
        return self.denoise(x, sigma)


def sampled(sampler, x, sigmas, seed=7):
    """What the sampler adds by itself: the model always predicts x0 = 0."""
    options = {"extra_args": {"seed": seed, "model_options": {}}, "disable": True}
    return sampler.sampler_function(Denoiser(lambda x, sigma: torch.zeros_like(x)), x, sigmas, **options)


@pytest.mark.parametrize("name", [name for name in TAKES_NOISE if not name.endswith("_cfg_pp")])
def test_steps_of_every_noisy_sampler_are_correlated(name):
    """At gamma 1 all frames get the same noise; at gamma 0 the sampler is ComfyUI's own, and near 0 nearly so."""
    sigmas = torch.tensor([10.0, 5.0, 2.0, 0.5])
    x = torch.zeros(4, 4, 8, 8)
    frozen = sampled(correlated_sampler(name, 1.0), x, sigmas)
    assert_close(frozen, frozen[:1].expand_as(frozen))
    assert (frozen.std() > 0.01) == (name not in WITHOUT_NOISE)
    free = sampled(correlated_sampler(name, 0.0), x, sigmas)
    assert torch.equal(free, sampled(comfy.samplers.sampler_object(name), x, sigmas))
    nearly = sampled(correlated_sampler(name, 1e-6), x, sigmas)
    assert_close(nearly, free, rtol=1e-3, atol=1e-3)


def test_the_ones_people_use_are_among_them():
    assert {"euler_ancestral", "dpmpp_sde", "dpmpp_2m_sde", "dpmpp_3m_sde_gpu", "lcm", "ddpm"} <= set(TAKES_NOISE)
