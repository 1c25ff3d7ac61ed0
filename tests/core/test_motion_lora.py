"""Motion LoRA from every layout people have, added to the weights it names and to no other."""

import copy

import pytest
import torch
from motion_weights import write

from vcd_core.motion import (
    MotionConfig,
    MotionModule,
    load_motion_module,
    merge_motion_lora,
    read_motion_lora,
)

CONFIG = MotionConfig((32, 64), (1, 1), (1, 2), mid_block=True, max_frames=12)
SLOT = "down_blocks.0.motion_modules.0.temporal_transformer"
QUERY = f"{SLOT}.transformer_blocks.0.attention_blocks.0.to_q.weight"
BRIEF = torch.zeros(2, 2)


@pytest.fixture(scope="module")
def weights():
    generator = torch.Generator().manual_seed(1)
    weights = MotionModule(CONFIG, device="meta").state_dict()
    return {key: torch.randn(value.shape, generator=generator) for key, value in weights.items()}


@pytest.fixture(scope="module")
def loaded(weights, tmp_path_factory):
    return load_motion_module(write(tmp_path_factory.mktemp("motion") / "module.safetensors", weights))


def lora_pair(rng, channels=32, rank=4):
    return torch.randn(channels, rank, generator=rng), torch.randn(rank, channels, generator=rng)


LORA_KEYS = {
    "animatediff": (
        f"{SLOT}.transformer_blocks.0.attention_blocks.0.processor.{{}}_lora.",
        "up.weight",
        "down.weight",
    ),
    "diffusers": (
        "unet.down_blocks.0.motion_modules.0.transformer_blocks.0.attn1.processor.{}_lora.",
        "up.weight",
        "down.weight",
    ),
    "peft": (
        "unet.down_blocks.0.motion_modules.0.transformer_blocks.0.attn1.{}.",
        "lora_B.weight",
        "lora_A.weight",
    ),
}


@pytest.mark.parametrize("layout", LORA_KEYS)
@pytest.mark.parametrize("layer", ["to_q", "to_out"])
@pytest.mark.parametrize(("alpha", "suffix"), [(None, "safetensors"), (2.0, "ckpt")])
def test_a_lora_adds_its_product_to_its_weight_alone(layout, layer, alpha, suffix, weights, loaded, rng, tmp_path):
    up, down = lora_pair(rng)
    stem, up_name, down_name = LORA_KEYS[layout]
    content = {f"{stem.format(layer)}{up_name}": up, f"{stem.format(layer)}{down_name}": down}
    if alpha is not None:
        content[f"{stem.format(layer)}alpha"] = torch.tensor(alpha)
    if suffix == "ckpt":
        content = {"state_dict": {f"module.{key}": value for key, value in content.items()}}
    module = copy.deepcopy(loaded)
    merge_motion_lora(module, read_motion_lora(write(tmp_path / f"lora.{suffix}", content)), 0.6)

    changed = QUERY.replace("to_q", {"to_q": "to_q", "to_out": "to_out.0"}[layer])
    scale = 0.6 * (1 if alpha is None else alpha / 4)
    merged = module.state_dict()
    torch.testing.assert_close(merged.pop(changed), weights[changed] + scale * up @ down, rtol=1e-6, atol=1e-6)
    assert len(merged) == len(weights) - 1
    assert all(torch.equal(value, weights[name]) for name, value in merged.items())


@pytest.mark.parametrize("suffix", ["safetensors", "ckpt"])
def test_merging_leaves_the_file_alone(suffix, weights, rng, tmp_path):
    path = write(tmp_path / f"module.{suffix}", weights)
    before = path.read_bytes()
    up, down = lora_pair(rng)
    stem, up_name, down_name = LORA_KEYS["peft"]
    lora = {f"{stem.format('to_q')}{up_name}": up, f"{stem.format('to_q')}{down_name}": down}
    module = load_motion_module(path)
    merge_motion_lora(module, read_motion_lora(write(tmp_path / "lora.ckpt", lora)), 1.0)
    assert not torch.equal(module.state_dict()[QUERY], weights[QUERY])
    assert path.read_bytes() == before


@pytest.mark.parametrize(("slot", "channels"), [("mid_block", 64), ("down_blocks.0", 48)])
def test_a_lora_of_another_module_is_refused_before_anything_changes(slot, channels, rng, tmp_path):
    module = MotionModule(MotionConfig((32, 64), (1, 1), (2, 2), mid_block=False, max_frames=12))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    stem, up_name, down_name = LORA_KEYS["animatediff"]
    content = {}
    for place, width in (("down_blocks.1", 64), (slot, channels)):
        key = stem.format("to_v").replace("down_blocks.0", place)
        content[key + up_name], content[key + down_name] = lora_pair(rng, width)
    lora = read_motion_lora(write(tmp_path / "lora.ckpt", content))
    with pytest.raises(ValueError, match=rf"{slot}.*to_v\.weight.*made for"):
        merge_motion_lora(module, lora, 1.0)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({}, "is not a motion LoRA: it holds nothing"),
        ({"unet.down_blocks.0.attentions.0.attn1.to_q.lora_A.weight": BRIEF}, "is not a motion LoRA"),
        ({QUERY: BRIEF}, "is not a motion LoRA"),
        ({QUERY.replace(".weight", ".lora_A.weight"): BRIEF}, "only one half"),
        (
            {
                QUERY.replace(".weight", ".lora_A.weight"): BRIEF,
                QUERY.replace(".weight", ".lora_B.weight"): torch.zeros(2, 3),
            },
            r"do not fit each other: \(2, 3\) and \(2, 2\)",
        ),
    ],
)
def test_what_is_no_motion_lora_is_refused(content, complaint, tmp_path):
    with pytest.raises(ValueError, match=rf"lora\.ckpt .*{complaint}"):
        read_motion_lora(write(tmp_path / "lora.ckpt", content))
