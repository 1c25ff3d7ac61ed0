"""Stable Diffusion from diffusers' parts behind the core's ports, on models of a few channels."""

import pickle
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import random_models
import torch
from random_pipeline import random_model, random_motion_module
from safetensors.torch import save_file
from torch.testing import assert_close

from vcd_core.identity import PLACEHOLDER, IDToken, masked_loss, save_id_token
from vcd_core.motion import MotionConfig, MotionModule
from vcd_core.sampling import SAMPLERS
from vcd_core.standalone import cli
from vcd_core.standalone.checkpoint import load_checkpoint
from vcd_core.standalone.config import SD15, ModelConfig
from vcd_core.standalone.motion import inserted_motion
from vcd_core.standalone.pipeline import SCHEDULERS, ClipOptions, make_clip
from vcd_core.standalone.prompts import parse_prompt
from vcd_core.standalone.tokenizer import clip_tokenizer

NARROW = ModelConfig((32, 64), (True, False), 32, 2, 4, (32, 32, 32, 32))
PUBLISHED = ModelConfig((32, 64, 128, 128), (True, True, True, False), 32, 2, 4, (32, 64, 128, 128))
TINY = ClipOptions(frames=3, size=64, steps=2)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Models this small are slower on several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model():
    return random_model(0, NARROW)


@pytest.fixture(scope="module")
def motion():
    return random_motion_module(0, NARROW)


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


# --- the tokenizer and the text encoder -----------------------------------------------------------------


def test_a_photo_of_a_cat_has_the_ids_everyone_knows(no_network):
    tokenizer = clip_tokenizer()
    ids = tokenizer("a photo of a cat", padding="max_length").input_ids
    assert ids == [49406, 320, 1125, 539, 320, 2368] + [49407] * 71
    assert len(tokenizer) == 49408


def test_plain_words_are_encoded_as_transformers_does(model):
    prompt = "a photo of a red haired woman, on a beach"
    ids = model.tokenizer(prompt, padding="max_length", return_tensors="pt").input_ids
    expected = model.text_encoder(ids).last_hidden_state[0]
    assert_close(model.encode_pieces([prompt]), expected, rtol=0, atol=0)


@pytest.mark.parametrize("prompt", [f"photo of a {PLACEHOLDER} woman, on a beach", f"{PLACEHOLDER} and {PLACEHOLDER}"])
def test_the_vectors_of_real_words_are_encoded_as_those_words(model, prompt):
    learned = model.embed_words("red haired")
    assert_close(
        model.encode_prompt(prompt, learned),
        model.encode_pieces([prompt.replace(PLACEHOLDER, "red haired")]),
        rtol=0,
        atol=1e-6,
    )
    assert not torch.allclose(model.encode_prompt(prompt, learned * 2), model.encode_prompt(prompt, learned))


def test_learned_vectors_leave_the_text_encoder_as_it_was(model):
    before = model.encode_pieces(["a cat"])
    model.encode_prompt(f"a {PLACEHOLDER} cat", torch.randn(4, 32))
    with pytest.raises(IndexError):
        model.encode_prompt(f"a {PLACEHOLDER} cat", torch.randn(4, 32, 1))
    assert torch.equal(model.encode_pieces(["a cat"]), before)
    assert not model.text_encoder.get_input_embeddings()._forward_hooks


def test_gradients_reach_the_vectors_through_both_models(model):
    """Against finite differences of the same loss."""
    generator = torch.Generator().manual_seed(0)
    noised, target = torch.randn(2, 2, 4, 8, 8, generator=generator)
    vectors = (0.02 * torch.randn(2, 32, generator=generator)).requires_grad_()  # as large as words are
    double = replace(model, unet=random_model(0, NARROW).unet.double())

    def loss(vectors):
        context = double.encode_prompt(f"photo of a {PLACEHOLDER} woman", vectors).double().expand(2, -1, -1)
        predicted = double.predict_noise(noised.double(), torch.tensor([100, 700]), context)
        return ((predicted - target) ** 2).sum()

    (gradient,) = torch.autograd.grad(loss(vectors), vectors)
    direction = gradient / gradient.norm()
    with torch.no_grad():
        step = 1e-3
        change = loss(vectors + step * direction) - loss(vectors - step * direction)
    # The text encoder runs in float32, and the difference keeps its rounding.
    assert change.item() / (2 * step) == pytest.approx(gradient.norm().item(), rel=0.02)


def test_training_leaves_the_weights_alone(model):
    vectors = torch.randn(4, 32).requires_grad_()
    context = model.encode_prompt(f"a {PLACEHOLDER}", vectors)[None]
    predicted = model.predict_noise(torch.randn(1, 4, 8, 8), torch.tensor([5]), context)
    masked_loss(predicted, torch.zeros_like(predicted), torch.ones(1, 1, 8, 8)).backward()
    assert vectors.grad.abs().max() > 0
    for part in (model.unet, model.vae, model.text_encoder):
        assert all(weight.grad is None and not weight.requires_grad for weight in part.parameters())


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda model: model.encode_pieces(["word " * 76]), "has 76 tokens, the text encoder takes 75: shorten it"),
        (lambda model: model.encode_prompt("word " * 74 + PLACEHOLDER, torch.zeros(2, 32)), "shorten it"),
        (lambda model: model.encode_prompt(PLACEHOLDER, torch.zeros(2, 768)), "768 numbers each, .* takes 32"),
        (lambda model: model.embed_words("  "), "noun is empty"),
    ],
)
def test_what_the_text_encoder_cannot_take_is_refused(model, call, complaint):
    with pytest.raises(ValueError, match=complaint):
        call(model)


def test_a_prompt_may_be_as_long_as_the_encoder(model):
    assert model.encode_pieces(["word " * 75]).shape == (77, 32)


# --- prompts --------------------------------------------------------------------------------------------


@pytest.fixture
def embeddings(tmp_path):
    for name, width in (("ava", 32), ("bo-2", 32)):
        save_id_token(IDToken(name, torch.randn(2, width), "woman", 1), tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a photo of embedding:ava woman", ["a photo of ", "ava", " woman"]),
        ("embedding:ava.safetensors, and embedding:bo-2.", ["", "ava", ", and ", "bo-2", "."]),
        ("(embedding:ava) at 7:30", ["(", "ava", ") at 7:30"]),
        ("Embedding:ava", ["", "ava", ""]),
        ("nobody", ["nobody"]),
        ("", [""]),
    ],
)
def test_named_subjects_become_their_vectors(embeddings, prompt, words):
    from vcd_core.identity import load_id_token

    pieces = parse_prompt(prompt, embeddings)
    assert len(pieces) == len(words)
    for index, (piece, word) in enumerate(zip(pieces, words, strict=True)):
        if index % 2:
            assert torch.equal(piece, load_id_token(embeddings / f"{word}.safetensors").vectors)
        else:
            assert piece == word


def test_a_prompt_means_in_a_clip_what_it_meant_in_training(model, embeddings):
    pieces = parse_prompt("photo of a embedding:ava woman, on a beach", embeddings)
    trained = model.encode_prompt(f"photo of a {PLACEHOLDER} woman, on a beach", pieces[1])
    assert torch.equal(model.encode_pieces(pieces), trained)


@pytest.mark.parametrize(
    ("prompt", "complaint"),
    [
        ("embedding:eve woman", r"no embedding 'eve' in .*; it has: ava, bo-2"),
        ("embedding:../ava woman", "token name '../ava'"),
        ("embedding: ava", "token name ''"),
        ("embedding:ava.pt", "token name 'ava.pt'"),
        ("a (smiling:1.2) embedding:ava", "only ComfyUI"),
        ("(embedding:ava:1.2)", "only ComfyUI"),
    ],
)
def test_prompts_that_cannot_be_resolved_are_refused(embeddings, prompt, complaint):
    with pytest.raises(ValueError, match=complaint):
        parse_prompt(prompt, embeddings)


def test_a_missing_folder_is_named(tmp_path):
    assert parse_prompt("a cat", tmp_path / "absent") == ["a cat"]
    with pytest.raises(ValueError, match="absent to take embedding:ava from"):
        parse_prompt("embedding:ava", tmp_path / "absent")
    with pytest.raises(ValueError, match="none, train one first"):
        parse_prompt("embedding:ava", tmp_path)


# --- pictures, latents and denoising --------------------------------------------------------------------


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
    frames = make_clip(model, ["a cat"], [""], replace(TINY, gamma=1.0, sampler=sampler, scheduler="normal"))
    assert_close(frames, frames[:1].expand_as(frames), rtol=0, atol=1e-3)
    moving = make_clip(model, ["a cat"], [""], replace(TINY, gamma=0.0, sampler=sampler, scheduler="normal"))
    assert (moving[1] - moving[0]).abs().max() > 0.1


def test_guidance_listens_to_the_negative_prompt_except_at_scale_one(model):
    learned = 20 * torch.randn(4, 32, generator=torch.Generator().manual_seed(0))

    def clip(negative, cfg):
        return make_clip(model, ["a cat"], negative, replace(TINY, cfg=cfg))

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
    assert set(cli.SAMPLERS) == set(SAMPLERS)
    assert set(cli.SCHEDULERS) == set(SCHEDULERS)


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


class PerFrameNorm(torch.nn.Module):
    """Undoes the one difference between diffusers' temporal transformer and AnimateDiff's: frames are normed alone."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x):  # (B, C, F, H, W)
        return torch.stack([self.norm(frame) for frame in x.unbind(2)], dim=2)


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
            module.norm = PerFrameNorm(module.norm)

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


# --- checkpoints ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights():
    """A checkpoint in the published layout, by a writer that knows neither diffusers nor the loader."""
    sizes = {"CHANNELS": 32, "TEXT_WIDTH": 32, "TEXT_LAYERS": 2, "VAE_CHANNELS": 32}
    draw = random_models.Drawer(0)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in sizes.items():
            patch.setattr(random_models, name, value)
        return {
            **random_models.collect(random_models.random_unet(draw), "model.diffusion_model."),
            **random_models.collect(
                random_models.random_text_encoder(draw), "cond_stage_model.transformer.text_model."
            ),
            **random_models.collect(random_models.random_vae(draw), "first_stage_model."),
        }


@pytest.fixture(scope="module")
def checkpoint(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoints") / "narrow.safetensors"
    save_file(weights, path)
    return path


LDM_NAMES = {
    "unet": {
        "model.diffusion_model.time_embed.2.bias": "time_embedding.linear_2.bias",
        "model.diffusion_model.input_blocks.0.0.weight": "conv_in.weight",
        "model.diffusion_model.input_blocks.4.0.skip_connection.weight": "down_blocks.1.resnets.0.conv_shortcut.weight",
        "model.diffusion_model.input_blocks.6.0.op.weight": "down_blocks.1.downsamplers.0.conv.weight",
        "model.diffusion_model.input_blocks.8.1.transformer_blocks.0.attn2.to_k.weight": (
            "down_blocks.2.attentions.1.transformer_blocks.0.attn2.to_k.weight"
        ),
        "model.diffusion_model.input_blocks.10.0.emb_layers.1.weight": "down_blocks.3.resnets.0.time_emb_proj.weight",
        "model.diffusion_model.middle_block.2.out_layers.3.weight": "mid_block.resnets.1.conv2.weight",
        "model.diffusion_model.output_blocks.2.1.conv.weight": "up_blocks.0.upsamplers.0.conv.weight",
        "model.diffusion_model.output_blocks.11.0.in_layers.2.weight": "up_blocks.3.resnets.2.conv1.weight",
        "model.diffusion_model.out.2.weight": "conv_out.weight",
    },
    "vae": {
        "first_stage_model.encoder.down.2.block.0.nin_shortcut.weight": (
            "encoder.down_blocks.2.resnets.0.conv_shortcut.weight"
        ),
        "first_stage_model.encoder.mid.attn_1.q.weight": "encoder.mid_block.attentions.0.to_q.weight",
        "first_stage_model.decoder.up.3.block.1.conv2.weight": "decoder.up_blocks.0.resnets.1.conv2.weight",
        "first_stage_model.decoder.up.1.upsample.conv.bias": "decoder.up_blocks.2.upsamplers.0.conv.bias",
        "first_stage_model.post_quant_conv.weight": "post_quant_conv.weight",
    },
    "text_encoder": {
        "cond_stage_model.transformer.text_model.encoder.layers.1.mlp.fc1.weight": (
            "text_model.encoder.layers.1.mlp.fc1.weight"
        ),
    },
}


@pytest.mark.parametrize("layout", ["safetensors", "ckpt", "without text_model"])
def test_every_weight_of_a_published_checkpoint_arrives_in_its_place(weights, checkpoint, tmp_path, no_network, layout):
    path = checkpoint
    if layout == "ckpt":
        path = tmp_path / "narrow.ckpt"
        torch.save({"state_dict": weights, "global_step": 7}, path)
    elif layout == "without text_model":
        path = tmp_path / "older.safetensors"
        save_file({key.replace("transformer.text_model.", "transformer."): w for key, w in weights.items()}, path)
    loaded = load_checkpoint(path, PUBLISHED)

    for part, names in LDM_NAMES.items():
        arrived = getattr(loaded, part).state_dict()
        for theirs, ours in names.items():
            assert torch.equal(arrived[ours].flatten(), weights[theirs].float().flatten()), theirs
    # No weight is lost, doubled or exchanged for one of another part.
    arrived = [w for part in LDM_NAMES for w in getattr(loaded, part).state_dict().values()]
    expected = [w for key, w in weights.items() if not key.endswith("position_ids")]
    assert sorted(fingerprint(w) for w in arrived) == sorted(fingerprint(w.float()) for w in expected)
    assert all(w.dtype == torch.float32 for w in arrived)


def fingerprint(weight):
    return weight.numel(), weight.flatten()[:3].tolist(), weight.sum(dtype=torch.float64).item()


@torch.no_grad()
def test_a_loaded_checkpoint_runs(checkpoint, rng):
    model = load_checkpoint(checkpoint, PUBLISHED)
    images = torch.rand(1, 3, 64, 64, generator=rng) * 2 - 1
    x0 = model.denoiser(model.encode_pieces(["a cat"]))(model.encode(images), torch.tensor(2.0))
    assert torch.isfinite(model.decode(x0)).all()
    assert not any(part.training for part in (model.unet, model.vae, model.text_encoder))


def without(prefix):
    return lambda weights: {key: w for key, w in weights.items() if not key.startswith(prefix)}


def with_weight(key, *shape):
    return lambda weights: {**weights, key: torch.zeros(shape)}


CONTEXT = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (with_weight("conditioner.embedders.0.x", 1), "looks like an SDXL checkpoint"),
        (with_weight("cond_stage_model.model.transformer.x", 1), "looks like a Stable Diffusion 2 checkpoint"),
        (with_weight(CONTEXT, 32, 1024), "looks like a Stable Diffusion 2 checkpoint"),
        (with_weight("model.diffusion_model.input_blocks.0.0.weight", 32, 9, 3, 3), "looks like an inpainting"),
        (lambda _: {"down_blocks.0.motion_modules.0.x": torch.zeros(1)}, "looks like a motion module"),
        (lambda _: {"lora_unet_x.lora_down.weight": torch.zeros(1)}, "looks like a LoRA"),
        (lambda _: {"clip_l": torch.zeros(4, 768)}, "looks like an ID token"),
        (lambda _: {"x": torch.zeros(1)}, "looks like something else"),
        (without("first_stage_model."), "has no VAE in it"),
        (without("cond_stage_model."), "has no text encoder in it"),
        (without("model.diffusion_model.out."), r"not a whole checkpoint .*: its UNet lacks 4 of .*"),
        (without("first_stage_model.decoder.mid.attn_1.q"), r"its VAE lacks 2 of"),
        (with_weight("model.diffusion_model.out.2.bias", 5), r"its UNet has conv_out.bias of shape \(5,\), not \(4,\)"),
        (with_weight("cond_stage_model.transformer.text_model.x", 1), "its text encoder has 1 unknown weights"),
    ],
)
def test_other_files_are_refused_with_what_they_are(weights, tmp_path, change, complaint):
    path = tmp_path / "other.safetensors"
    save_file(change(dict(weights)), path)
    with pytest.raises(ValueError, match=complaint) as caught:
        load_checkpoint(path, PUBLISHED)
    assert "other.safetensors" in str(caught.value)


def test_a_narrow_checkpoint_is_no_sd15(checkpoint):
    with pytest.raises(ValueError, match="a model of text width 32"):
        load_checkpoint(checkpoint, SD15)


def test_missing_and_damaged_files_are_refused(checkpoint, weights, tmp_path):
    with pytest.raises(ValueError, match=r"no file absent\.safetensors"):
        load_checkpoint(tmp_path / "absent.safetensors")
    content = checkpoint.read_bytes()
    for name, damaged in {"cut": content[:-1000], "junk": b"not a model at all"}.items():
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"{name}\.safetensors is damaged"):
            load_checkpoint(path, PUBLISHED)
    torch.save(dict(list(weights.items())[:9]), tmp_path / "cut.ckpt")
    (tmp_path / "cut.ckpt").write_bytes((tmp_path / "cut.ckpt").read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"cut\.ckpt is damaged"):
        load_checkpoint(tmp_path / "cut.ckpt", PUBLISHED)


class Code:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize(
    "write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content, protocol=2))]
)
def test_code_in_a_checkpoint_is_refused_and_never_run(weights, tmp_path, write):
    path, marker = tmp_path / "trap.ckpt", tmp_path / "it-ran"
    write({"state_dict": dict(list(weights.items())[:3]), "callback": Code(marker)}, path)
    with pytest.raises(ValueError, match=r"trap\.ckpt (holds Python objects|is damaged)"):
        load_checkpoint(path, PUBLISHED)
    assert not marker.exists()


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
