"""What gamma and motion do to the clips of a real server."""

import pytest
import torch
from graphs import Sampling, latents
from torch.testing import assert_close


@pytest.mark.parametrize("sampler_name", ["euler_ancestral", "dpmpp_2m_sde"])
def test_gamma_spans_from_comfyui_s_ksampler_to_one_frozen_frame(server, checkpoint, sampler_name):
    sampling = Sampling(checkpoint, frames=3)
    keys = [
        sampling.sample("KSampler", sampler_name=sampler_name),
        *(sampling.sample(gamma=gamma, sampler_name=sampler_name) for gamma in (0.0, 0.5, 1.0)),
    ]
    result = server.queue(sampling.graph).check()
    theirs, free, half, frozen = (latents(result, key) for key in keys)
    assert torch.equal(free, theirs)
    # One noise for all frames; a batch is multiplied in blocks, so its members agree to rounding only.
    assert_close(frozen, frozen[:1].expand_as(frozen), rtol=1e-4, atol=1e-4)
    spread = [clip.diff(dim=0).square().mean() for clip in (free, half, frozen)]
    assert spread[0] > 1.2 * spread[1] > spread[2]


def test_partial_denoising_keeps_the_clip_and_strength_zero_returns_it(server, checkpoint):
    sampling = Sampling(checkpoint, frames=2)
    made = sampling.sample(gamma=0.3)
    source = sampling.graph[made]["inputs"]["samples"]
    sampling.empty = source
    none, some, same = (
        sampling.sample(denoise=0.0),
        sampling.sample(denoise=0.4, gamma=0.3),
        sampling.sample("KSampler", denoise=0.4),
    )
    zero_gamma = sampling.sample(denoise=0.4)
    result = server.queue(sampling.graph).check()
    assert torch.equal(latents(result, none), latents(result, made))
    assert torch.equal(latents(result, zero_gamma), latents(result, same))
    assert not torch.equal(latents(result, some), latents(result, same))


def test_a_motion_module_moves_the_clip_and_leaves_the_checkpoint_bit_exact(server, checkpoint, motion_module):
    """Nothing is unloaded between turns; a guidance that differs in its last bits keeps ComfyUI from reusing a clip."""
    clips = []
    for turn, with_motion in enumerate((False, True, False, True)):
        sampling = Sampling(checkpoint, frames=3)
        motion = sampling.graph.add(
            "VCD_LoadMotionModule", model=sampling.model, motion_module=motion_module, noise_schedule="checkpoint"
        )
        kind = "KSampler" if turn < 2 else "VCD_Sampler"  # at gamma 0 they are the same
        key = sampling.sample(kind, model=[motion, 0] if with_motion else sampling.model, cfg=3.0 + turn // 2 * 1e-9)
        clips.append(latents(server.queue(sampling.graph).check(), key))
    plain, moved, plain_again, moved_again = clips
    assert torch.equal(plain, plain_again)
    assert torch.equal(moved, moved_again)
    assert (moved - plain).abs().mean() > 0.02 * plain.abs().mean()


def test_a_motion_lora_acts_in_proportion_and_goes_away_again(server, checkpoint, motion_lora):
    import random_models

    module = server.place("animatediff_models", random_models.motion_module("v2"), "motion-v2-random.safetensors")
    sampling = Sampling(checkpoint, frames=3)
    graph = sampling.graph
    motion = graph.add("VCD_LoadMotionModule", model=sampling.model, motion_module=module, noise_schedule="AnimateDiff")
    plain = sampling.sample(model=[motion, 0])
    changed = {}
    for strength in (0.0, 0.5, 1.0):
        lora = graph.add("VCD_LoadMotionLoRA", model=[motion, 0], motion_lora=motion_lora, strength=strength)
        changed[strength] = sampling.sample(model=[lora, 0])
    half = graph.add("VCD_LoadMotionLoRA", model=[motion, 0], motion_lora=motion_lora, strength=0.5)
    twice = graph.add("VCD_LoadMotionLoRA", model=[half, 0], motion_lora=motion_lora, strength=0.5)
    stacked = sampling.sample(model=[twice, 0])
    again = sampling.sample("KSampler", model=[motion, 0])
    result = server.queue(graph).check()
    base = latents(result, plain)
    assert torch.equal(latents(result, changed[0.0]), base)
    assert torch.equal(latents(result, again), base)
    effect = {strength: (latents(result, key) - base).norm() for strength, key in changed.items()}
    assert 0 < effect[0.5] < effect[1.0]
    assert_close(latents(result, stacked), latents(result, changed[1.0]), rtol=1e-3, atol=1e-3)


def test_the_noise_node_gives_the_sampler_s_own_noise(server, checkpoint):
    sampling = Sampling(checkpoint, frames=3)
    graph = sampling.graph
    ours = sampling.sample(gamma=0.4, seed=11)
    noise = graph.add("VCD_CorrelatedNoise", noise_seed=11, gamma=0.4)
    guider = graph.add(
        "CFGGuider", model=sampling.model, positive=sampling.positive, negative=sampling.negative, cfg=1.0
    )
    sampler = graph.add("KSamplerSelect", sampler_name="euler")
    sigmas = graph.add("BasicScheduler", model=sampling.model, scheduler="normal", steps=2, denoise=1.0)
    custom = graph.add(
        "SamplerCustomAdvanced",
        noise=[noise, 0],
        guider=[guider, 0],
        sampler=[sampler, 0],
        sigmas=[sigmas, 0],
        latent_image=sampling.empty,
    )
    theirs = sampling.save([custom, 0])
    result = server.queue(graph).check()
    assert torch.equal(latents(result, ours), latents(result, theirs))
