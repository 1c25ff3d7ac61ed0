"""Motion modules and motion LoRA from every layout people have, and a clear word about everything else."""

import os
import pickle
import re

import pytest
import torch
from diffusers import MotionAdapter
from motion_weights import write
from safetensors.torch import save_file

from vcd_core.motion import (
    MotionConfig,
    MotionModule,
    load_motion_module,
    read_motion_lora,
    read_motion_state_dict,
)
from vcd_core.motion.transformer import sinusoidal_positions

CONFIG = MotionConfig((32, 64), (1, 1), (2, 2), mid_block=True, max_frames=12)
SLOT = "down_blocks.0.motion_modules.0.temporal_transformer"
QUERY = f"{SLOT}.transformer_blocks.0.attention_blocks.0.to_q.weight"


@pytest.fixture(scope="module")
def shapes():
    return {key: value.shape for key, value in MotionModule(CONFIG, device="meta").state_dict().items()}


@pytest.fixture
def weights(shapes, rng):
    return {
        key: sinusoidal_positions(*shape[1:]) if key.endswith(".pe") else torch.randn(shape, generator=rng) / 8
        for key, shape in shapes.items()
    }


def adapter_layout(weights):
    names = {
        ".temporal_transformer": "",
        ".norms.0": ".norm1",
        ".norms.1": ".norm2",
        ".ff_norm": ".norm3",
        ".attention_blocks.0.pos_encoder": ".pos_embed",
        ".attention_blocks.0": ".attn1",
        ".attention_blocks.1": ".attn2",
    }
    renamed = {}
    for key, value in weights.items():
        if "attention_blocks.1.pos_encoder" not in key:
            for ours, theirs in names.items():
                key = key.replace(ours, theirs)
            renamed[key] = value.clone()
    return renamed


LAYOUTS = {
    "plain.safetensors": lambda w: w,
    "plain.ckpt": lambda w: w,
    "wrapped.pt": lambda w: {"state_dict": w, "epoch": 3},
    "training.ckpt": lambda w: {"state_dict": {f"module.{k}": v for k, v in w.items()}, "global_step": 10},
    "config.pth": lambda w: w | {"animatediff_config": {"a": 1}},
    "beside_its_unet.bin": lambda w: (
        w
        | {
            "conv_in.weight": torch.zeros(8, 4, 3, 3),
            "down_blocks.0.resnets.0.conv1.weight": torch.zeros(1),
            "mid_block.attentions.0.proj_in.weight": torch.zeros(1),
            "time_embedding.linear_1.bias": torch.zeros(1),
        }
    ),
    "adapter.safetensors": adapter_layout,
    "adapter.bin": adapter_layout,
}


PRECISIONS = (torch.float32, torch.float16, torch.bfloat16)


# Names are read alike in every precision: each layout in one of them, and each kind of file in all three.
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, dtype) for name in ("plain.safetensors", "plain.ckpt") for dtype in PRECISIONS),
        *((name, torch.float16) for name in LAYOUTS if not name.startswith("plain")),
    ],
)
def test_every_layout_and_precision_gives_the_same_module(name, dtype, weights, tmp_path, rng):
    weights = {key: value.to(dtype) for key, value in weights.items()}
    module = load_motion_module(write(tmp_path / name, LAYOUTS[name](weights)))
    assert module.config == CONFIG
    loaded = module.state_dict()
    assert loaded.keys() == weights.keys()
    for key, value in weights.items():
        assert loaded[key].dtype == dtype
        assert torch.equal(loaded[key], value), key
    x = torch.randn(4, 32, 2, 2, generator=rng)
    with torch.no_grad():
        assert module.to(torch.float32).down_blocks[0].motion_modules[0](x, 4).isfinite().all()


def test_our_names_are_those_of_a_motion_adapter(weights):
    adapter = MotionAdapter((32, 64), 1, motion_num_attention_heads=8, motion_max_seq_length=12)
    assert adapter.state_dict().keys() == adapter_layout(weights).keys()


def test_the_asked_dtype_is_given(weights, tmp_path):
    module = load_motion_module(write(tmp_path / "a.safetensors", weights), dtype=torch.bfloat16)
    assert {value.dtype for value in module.state_dict().values()} == {torch.bfloat16}


def test_heads_come_from_the_metadata(weights, tmp_path):
    save_file(weights, tmp_path / "a.safetensors", metadata={"num_attention_heads": "4"})
    module = load_motion_module(tmp_path / "a.safetensors")
    assert module.config.heads == 4
    block = module.up_blocks[0].motion_modules[0].temporal_transformer.transformer_blocks[0]
    assert block.attention_blocks[0].heads == 4


def test_missing_positions_are_the_sinusoidal_ones(weights, tmp_path):
    bare = {key: value for key, value in weights.items() if not key.endswith(".pe")}
    read, config = read_motion_state_dict(write(tmp_path / "lcm.ckpt", bare))
    assert config.max_frames == 32
    for key in (key for key in weights if key.endswith(".pe")):
        torch.testing.assert_close(read[key][:, :12], weights[key])


def published(mid_block, frames, channels=(320, 640, 1280, 1280)):
    levels = len(channels)
    config = MotionConfig(channels, (2,) * levels, (3,) * levels, mid_block, frames)
    return MotionModule(config, device="meta").state_dict()


def on_paper(monkeypatch, tensors):
    """Full-size weights weigh a gigabyte; their shapes are enough here."""
    monkeypatch.setattr("vcd_core.motion.files.read_tensors", lambda path: (dict(tensors), {}))


@pytest.mark.parametrize(("mid_block", "frames"), [(True, 32), (False, 32), (True, 24)])
def test_published_shapes_are_accepted(mid_block, frames, monkeypatch):
    on_paper(monkeypatch, published(mid_block, frames))
    _, config = read_motion_state_dict("mm.ckpt")
    assert (config.mid_block, config.max_frames) == (mid_block, frames)


def test_v1_is_refused_and_told_why(monkeypatch):
    on_paper(monkeypatch, published(mid_block=False, frames=24))
    with pytest.raises(ValueError, match=r"(?s)mm_v1.ckpt is an AnimateDiff v1 .*GroupNorm.*use a v2 .*or v3"):
        read_motion_state_dict("mm_v1.ckpt")


def test_a_small_module_like_v1_is_no_v1(tmp_path):
    config = MotionConfig((64, 128, 192), (1, 1, 1), (2, 2, 2), mid_block=False, max_frames=24)
    path = write(tmp_path / "small.safetensors", MotionModule(config).state_dict())
    assert load_motion_module(path).config == config


def test_sdxl_is_refused(monkeypatch):
    on_paper(monkeypatch, published(False, 32, (320, 640, 1280)))
    with pytest.raises(ValueError, match="mm_sdxl.ckpt is a motion module for SDXL: use"):
        read_motion_state_dict("mm_sdxl.ckpt")


BRIEF = torch.zeros(2, 2)
WRONG_MODELS = {
    "a HotShot-XL module": {"down_blocks.0.temporal_attentions.0.norm.weight": BRIEF},
    "a Stable Diffusion checkpoint": {"model.diffusion_model.input_blocks.0.0.weight": BRIEF},
    "an SDXL checkpoint": {"model.diffusion_model.a.weight": BRIEF, "conditioner.embedders.0.weight": BRIEF},
    "a LoRA": {"lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight": BRIEF},
    "a motion LoRA": {f"{SLOT}.transformer_blocks.0.attention_blocks.0.processor.to_q_lora.up.weight": BRIEF},
    "a SparseCtrl": {f"{SLOT}.norm.weight": BRIEF, "controlnet_cond_embedding.conv_in.weight": BRIEF},
    "an image UNet": {"down_blocks.0.attentions.0.norm.weight": BRIEF},
    "something else, with weights such as a, b": {"a": BRIEF, "b": BRIEF},
    "a file without weights": {},
}


@pytest.mark.parametrize("description", WRONG_MODELS)
@pytest.mark.parametrize("suffix", ["safetensors", "ckpt"])
def test_other_models_are_named(description, suffix, tmp_path):
    path = write(tmp_path / f"wrong.{suffix}", WRONG_MODELS[description])
    with pytest.raises(ValueError, match=rf"wrong\.{suffix} is not a motion module; it looks like {description}"):
        load_motion_module(path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda w: w.pop(QUERY), "it lacks .*to_q.weight"),
        (lambda w: w.update({f"{SLOT}.cc_projection.weight": BRIEF}), "unknown weights: .*cc_projection"),
        (lambda w: w.update({"img_encoder.weight": BRIEF}), "unknown weights: img_encoder"),
        (lambda w: w.update({QUERY: torch.zeros(32, 16)}), "of unexpected shape: .*to_q.weight"),
        (lambda w: w.update({"conv_in.weight": torch.zeros(8, 9, 3, 3)}), "input layer of 9 channels"),
    ],
)
def test_relatives_with_other_weights_are_refused(change, complaint, weights, tmp_path):
    change(weights)
    with pytest.raises(ValueError, match=rf"relative\.ckpt .*{complaint}"):
        load_motion_module(write(tmp_path / "relative.ckpt", weights))


@pytest.mark.parametrize("suffix", ["safetensors", "ckpt", "pt", "pth", "bin"])
@pytest.mark.parametrize("read", [load_motion_module, read_motion_lora])
def test_damaged_files_are_named(suffix, read, weights, tmp_path):
    path = tmp_path / f"module.{suffix}"
    named = re.escape(path.name)
    with pytest.raises(ValueError, match=f"no file {named}"):
        read(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=f"{named} is empty: download it again"):
        read(path)
    for content in (b"<html>Not found</html>", bytes(range(256)) * 40, b"\x80\x02}q\x00("):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{named} is damaged .*download it again"):
            read(path)
    whole = write(path, weights).read_bytes()
    for kept in (10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:kept])
        with pytest.raises(ValueError, match=f"{named} is damaged .*download it again"):
            read(path)


class Malice:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("read", [load_motion_module, read_motion_lora])
def test_code_in_a_pickle_is_refused_and_never_run(legacy, read, weights, tmp_path):
    target, path = tmp_path / "harm", tmp_path / "evil.ckpt"
    torch.save(weights | {"x": Malice(target)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match=r"evil\.ckpt holds Python objects .*refused: use a .safetensors"):
        read(path)
    assert not target.exists()
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path.write_bytes(pickle.dumps(Malice(target), protocol))
        with pytest.raises(ValueError, match=r"evil\.ckpt .*hold.* Python objects .*refused: use a .safetensors"):
            read(path)
        assert not target.exists()
    pickle.loads(path.read_bytes())  # the bait is real
    assert target.exists()
