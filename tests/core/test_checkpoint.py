"""Checkpoints in the published layout: every weight arrives in its place, and other files are told by name."""

import pickle
from pathlib import Path

import pytest
import random_models
import torch
from safetensors.torch import load_file, save_file

from vcd_core.standalone import checkpoint as loading
from vcd_core.standalone.checkpoint import load_checkpoint
from vcd_core.standalone.config import SD15, ModelConfig

DEMO_MODEL = Path(__file__).parents[2] / "demo/weights/demo-model.safetensors"
PUBLISHED = ModelConfig((32, 64, 64, 64), (True, True, True, False), 32, 2, 4, (32, 64, 128, 128))

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def weights():
    """A checkpoint in the published layout, by a writer that knows neither diffusers nor the loader."""
    sizes = {"CHANNELS": 32, "LEVELS": (1, 2, 2, 2), "TEXT_WIDTH": 32, "TEXT_LAYERS": 2, "VAE_CHANNELS": 32}
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


@torch.no_grad()
def test_a_large_picture_goes_through_the_vae_in_tiles(checkpoint, monkeypatch):
    monkeypatch.setattr(loading, "VAE_TILE", 64)
    model, seen = load_checkpoint(checkpoint, PUBLISHED), []
    for part in (model.vae.encoder, model.vae.decoder):
        part.register_forward_pre_hook(lambda _part, given: seen.append(tuple(given[0].shape[2:])))
    latents = model.encode(torch.rand(1, 3, 96, 80))
    assert latents.shape == (1, 4, 12, 10)
    assert max(max(sides) for sides in seen) == 64
    seen.clear()
    assert model.decode(latents).shape == (1, 3, 96, 80)
    assert max(max(sides) for sides in seen) == 64 // 8


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
        (lambda _: load_file(DEMO_MODEL), "looks like the demo's own model"),
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
