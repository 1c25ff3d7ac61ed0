"""Stable Diffusion from diffusers' parts behind the core's ports, and clips of it, on models of a few channels."""

from dataclasses import replace

import pytest
import torch
from motion_weights import PerFrameNorm
from narrow_model import NARROW
from random_pipeline import random_model, random_motion_module
from torch.testing import assert_close

from vcd_core.motion import MotionConfig, MotionModule
from vcd_core.sampling import SAMPLERS
from vcd_core.standalone import shared_options
from vcd_core.standalone.motion import inserted_motion
from vcd_core.standalone.pipeline import SCHEDULERS, ClipOptions, make_clip

TINY = ClipOptions(frames=3, size=64, steps=2)

pytestmark = pytest.mark.usefixtures("one_thread")


@torch.no_grad()
def test_latents_are_the_vaes_means_scaled(model, rng):
    images = torch.rand(3, 3, 64, 72, generator=rng) * 2 - 1
    latents = model.encode(images)
    moments = model.vae.quant_conv(model.vae.encoder(images))
    assert latents.shape == (3, 4, 8, 9)
    assert_close(latents, 0.18215 * moments[:, :4], rtol=1e-4, atol=1e-5)
    decoded = model.decode(latents)
    expected = model.vae.decoder(model.vae.post_quant_conv(latents / 0.18215)).clamp(-1, 1)
    assert_close(decoded, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers.*")
@torch.no_grad()
@pytest.mark.parametrize("timestep", [0, 500, 999])
def test_denoise_agrees_with_diffusers_own_scheduler(model, rng, timestep):
    from diffusers import EulerDiscreteScheduler

    scheduler = EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    scheduler.set_timesteps(timesteps=[999, 500, 0])
    context = model.encode_pieces(["a cat"])
    sigma = model.schedule.sigmas[timestep]
    x = torch.randn(2, 4, 8, 8, generator=rng) * sigma
    (moment,) = scheduler.timesteps[scheduler.timesteps == timestep]
    scaled = scheduler.scale_model_input(x, moment)
    noise = model.unet(scaled, timestep, encoder_hidden_states=context.expand(2, -1, -1)).sample
    expected = scheduler.step(noise, moment, x).pred_original_sample
    assert_close(model.denoiser(context)(x, sigma), expected, rtol=1e-4, atol=1e-4)


def test_a_clip_is_a_video_of_ordinary_contrast_and_repeats_from_its_seed(model, motion):
    def clip(**changes):
        return make_clip(model, ["a cat"], [""], replace(TINY, **changes), motion)

    first = clip()
    assert first.shape == (3, 64, 64, 3)
    assert 0 <= first.min() < 0.3 < 0.7 < first.max() <= 1
    assert torch.equal(clip(), first)
    assert not torch.allclose(clip(seed=1), first, atol=1e-2)


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_noise_that_is_the_same_in_every_frame_gives_a_still(model, sampler):
    """γ = 1 freezes the noise at the start and within the sampler, so frames that do not interact stay equal."""
    options = replace(TINY, frames=2, sampler=sampler, scheduler="normal")
    frames = make_clip(model, ["a cat"], [""], replace(options, gamma=1.0))
    assert_close(frames, frames[:1].expand_as(frames), rtol=0, atol=1e-3)
    moving = make_clip(model, ["a cat"], [""], replace(options, gamma=0.0))
    assert (moving[1] - moving[0]).abs().max() > 0.1


def test_guidance_listens_to_the_negative_prompt_except_at_scale_one(model):
    learned = 20 * torch.randn(4, 32, generator=torch.Generator().manual_seed(0))

    def clip(negative, cfg):
        return make_clip(model, ["a cat"], negative, replace(TINY, frames=1, cfg=cfg))

    assert torch.equal(clip([""], 1.0), clip(["a ", learned], 1.0))
    assert not torch.allclose(clip([""], 8.0), clip(["a ", learned], 8.0), atol=1e-4)


def test_a_motion_module_brings_animatediffs_noise_levels(model, motion, monkeypatch):
    seen = []

    def sampler(denoise, x, sigmas, *, callback):
        seen.append(sigmas[0].item())
        return torch.zeros_like(x)

    monkeypatch.setitem(SAMPLERS, "euler", sampler)
    for module in (motion, None):
        make_clip(model, ["a cat"], [""], replace(TINY, sampler="euler", frames=1), module)
    assert seen == [pytest.approx(25.1, abs=0.1), pytest.approx(14.6, abs=0.1)]


@pytest.mark.parametrize(
    "wrong", [{"size": 100}, {"size": 0}, {"frames": 0}, {"steps": 0}, {"size": 56}], ids=lambda change: str(change)
)
def test_impossible_clips_are_refused(wrong):
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        ClipOptions(**wrong)


def test_more_frames_than_the_module_knows_are_refused(model, motion):
    with pytest.raises(ValueError, match="33 frames"):
        make_clip(model, ["a cat"], [""], replace(TINY, frames=33), motion)
    assert not any(module._forward_hooks for module in model.unet.modules())


def test_the_command_line_offers_what_there_is():
    assert set(shared_options.SAMPLERS) == set(SAMPLERS)
    assert set(shared_options.SCHEDULERS) == set(SCHEDULERS)


# --- motion ---------------------------------------------------------------------------------------------


@torch.no_grad()
def test_a_module_that_adds_nothing_leaves_frames_as_they_are_alone(model, rng):
    still = random_motion_module(1, NARROW)
    for name, weight in still.named_parameters():
        if ".proj_out." in name:
            weight.zero_()
    x, context = torch.randn(4, 4, 8, 8, generator=rng), model.encode_pieces(["a cat"])[None]
    alone = torch.cat([model.predict_noise(frame, torch.tensor([500]), context) for frame in x.split(1)])
    with inserted_motion(model.unet, still):
        together = model.predict_noise(x, torch.tensor([500] * 4), context.expand(4, -1, -1))
    assert_close(together, alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_frames_see_each_other_while_motion_is_inserted_and_only_then(model, motion, rng):
    x, context = torch.randn(4, 4, 8, 8, generator=rng), model.encode_pieces(["a cat"])[None].expand(4, -1, -1)
    other = x.clone()
    other[0] += 1

    def predict(x):
        return model.predict_noise(x, torch.tensor([500] * 4), context)

    before = predict(x)
    with inserted_motion(model.unet, motion):
        assert (predict(other)[3] - predict(x)[3]).abs().max() > 1e-3
    assert torch.equal(predict(x), before)
    assert torch.equal(predict(other)[1:], before[1:])

    with pytest.raises(RuntimeError, match="stop"), inserted_motion(model.unet, motion):
        raise RuntimeError("stop")
    assert torch.equal(predict(x), before)
    assert not any(module._forward_hooks for module in model.unet.modules())


@torch.no_grad()
@pytest.mark.parametrize("has_middle", [True, False])
def test_temporal_transformers_sit_where_diffusers_motion_unet_has_them(model, rng, has_middle):
    from diffusers import MotionAdapter, UNetMotionModel

    torch.manual_seed(0)
    ours = MotionModule(MotionConfig(NARROW.channels, (2, 2), (3, 3), mid_block=has_middle, max_frames=32)).eval()
    adapter = MotionAdapter(
        NARROW.channels, motion_num_attention_heads=8, use_motion_mid_block=has_middle, motion_max_seq_length=32
    )
    names = {".temporal_transformer.": ".", ".norms.0.": ".norm1.", ".norms.1.": ".norm2.", ".ff_norm.": ".norm3."}
    names |= {".attention_blocks.0.": ".attn1.", ".attention_blocks.1.": ".attn2."}
    weights = {}
    for key, value in ours.state_dict().items():
        for one, another in names.items():
            key = key.replace(one, another)
        weights[key.replace(".attn1.pos_encoder.", ".pos_embed.")] = value
    weights = {key: value for key, value in weights.items() if ".attn2.pos_encoder." not in key}
    adapter.load_state_dict(weights)
    theirs = UNetMotionModel.from_unet2d(model.unet, adapter).eval()
    for module in list(theirs.modules()):
        if type(module).__name__ == "AnimateDiffTransformer3D":
            module.norm.__class__ = PerFrameNorm

    x, context = torch.randn(3, 4, 8, 8, generator=rng), model.encode_pieces(["a cat"]).expand(3, -1, -1)
    expected = theirs(x.movedim(0, 1)[None], 500, encoder_hidden_states=context).sample[0].movedim(1, 0)
    with inserted_motion(model.unet, ours):
        predicted = model.predict_noise(x, torch.tensor([500] * 3), context)
    assert_close(predicted, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(model.predict_noise(x, 500, context), expected, atol=1e-3)


def test_a_module_for_another_unet_is_refused(model):
    other = random_motion_module(0, replace(NARROW, channels=(64, 64)))
    refused = pytest.raises(ValueError, match=r"does not fit the checkpoint: its channels are \[64, .*'s \[32, ")
    with refused, inserted_motion(model.unet, other):
        pass
    assert not any(module._forward_hooks for module in model.unet.modules())


# --- the random model -----------------------------------------------------------------------------------


def test_the_random_model_depends_on_its_seed_alone(model, motion):
    state = torch.random.get_rng_state()
    again, other = random_model(0, NARROW), random_model(1, NARROW)
    motion_again = random_motion_module(0, NARROW)
    assert torch.equal(torch.random.get_rng_state(), state)
    for part in ("unet", "vae", "text_encoder"):
        ours, same, another = (getattr(m, part).state_dict() for m in (model, again, other))
        assert all(torch.equal(same[key], ours[key]) for key in ours)
        assert not all(torch.equal(another[key], ours[key]) for key in ours)
    ours, same = motion.state_dict(), motion_again.state_dict()
    assert all(torch.equal(same[key], ours[key]) for key in ours)
