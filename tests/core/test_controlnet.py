"""ControlNets beside the UNet: which part of a hint each tile sees, and that other files are told by name."""

import pickle

import pytest
import torch
from narrow_checkpoint import CONFIG, load_narrow
from safetensors.torch import load_file, save_file
from torch import nn
from torch.testing import assert_close

from vcd_core.standalone.controlnet import Control, controlled, load_controlnet
from vcd_core.standalone.pipeline import Sampling
from vcd_core.standalone.tiles import TileOptions, tile_refiner

pytestmark = pytest.mark.usefixtures("one_thread")

SAMPLING = Sampling(steps=2, cfg=2.0)


class Witness(nn.Module):
    """A ControlNet that says nothing and remembers what it saw."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, sample, timestep, context, hint, conditioning_scale, return_dict):
        self.seen.append((hint, conditioning_scale))
        assert len(hint) == len(sample)
        assert hint.shape[2:] == tuple(8 * side for side in sample.shape[2:])
        return [torch.zeros(1)] * 12, torch.zeros(1)


@pytest.fixture(scope="module")
def whole(files):
    return load_narrow(files / "sd15.safetensors", "cpu")


@pytest.fixture(scope="module")
def network(files):
    return load_controlnet(files / "controlnet.safetensors", CONFIG)


def numbered(frames, height, width):
    """Pictures (F, H, W, 3) whose red, green and blue say the frame, the row and the column."""
    axes = [torch.arange(length) / 1000 for length in (frames, height, width)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)


@pytest.mark.parametrize("together", [True, False])
def test_every_tile_and_window_sees_its_own_part_of_the_hint(whole, together):
    options = TileOptions(1.0, 0.5, tile=64, overlap=16, window=3, window_overlap=1, together=together)
    witnesses = [Witness(), Witness()]
    controls = [Control(witnesses[0]), Control(witnesses[1], 0.5)]
    hints = [numbered(5, 64, 112), 1 - numbered(5, 64, 112)]
    clip = torch.cat([torch.rand(5, 64, 112, 3), *hints], -1)
    refine = tile_refiner(whole, ["a woman"], [""], SAMPLING, options, controls=controls)
    assert refine(clip, range(5)).shape == (5, 64, 112, 3)
    for witness, hint, strength in zip(witnesses, hints, (1.0, 0.5), strict=True):
        corners = set()
        for seen, scale in witness.seen:
            assert scale == strength
            frame, row, column = ((1000 * value).round().int().item() for value in numbered_at_corner(seen))
            corners.add((frame, row, column))
            part = hint.movedim(-1, 1)[frame : frame + 3, :, row : row + 64, column : column + 64]
            assert_close(seen, part)
        assert corners == {(frame, 0, column) for frame in (0, 2) for column in (0, 48)}


def numbered_at_corner(seen):
    corner = seen[0, :, 0, 0]
    return corner if corner.sum() < 1 else 1 - corner


def test_without_hints_the_enlarged_clip_is_its_own(whole):
    witness, clip = Witness(), torch.rand(1, 32, 36, 3)
    options = TileOptions(2.0, 0.5, tile=0, overlap=0)
    refine = tile_refiner(whole, ["a woman"], [""], SAMPLING, options, controls=[Control(witness)])
    refine(clip, range(1))
    enlarged = tile_refiner(whole, ["a woman"], [""], SAMPLING, TileOptions(2.0, 0.0))(clip, range(1))
    seen = witness.seen[0][0]
    assert_close(seen[:, :, :64, :72].movedim(1, -1), enlarged)
    assert seen.shape == (1, 3, 64, 72)


def test_a_controlnet_acts_with_its_strength_and_several_add_up(whole, network):
    x, hint = torch.randn(2, 4, 8, 8), torch.rand(2, 3, 64, 64)
    context = torch.randn(2, 77, CONFIG.text_width)

    def out(*strengths):
        controls = [Control(network, strength) for strength in strengths]
        with controlled(whole.unet, controls, [hint] * len(controls)):
            return whole.predict_noise(x, torch.tensor([500, 500]), context)

    alone = whole.predict_noise(x, torch.tensor([500, 500]), context)
    assert torch.equal(out(), alone)
    assert_close(out(0.0), alone)
    assert (out(1.0) - alone).abs().mean() > 0.01
    assert_close(out(0.25, 0.75), out(1.0))
    assert torch.equal(whole.predict_noise(x, torch.tensor([500, 500]), context), alone)


def test_a_hint_changes_what_a_controlnet_says(whole, network):
    x, context = torch.randn(2, 4, 8, 8), torch.randn(2, 77, CONFIG.text_width)
    said = []
    for hint in (torch.zeros(2, 3, 64, 64), torch.ones(2, 3, 64, 64)):
        with controlled(whole.unet, [Control(network)], [hint]):
            said.append(whole.predict_noise(x, torch.tensor([500, 500]), context))
    assert (said[0] - said[1]).abs().mean() > 1e-3


@pytest.mark.parametrize("prefix", ["control_model.", ""])
def test_every_weight_arrives_in_its_place(files, tmp_path, prefix):
    """By a writer that knows neither diffusers nor the loader."""
    weights = load_file(files / "controlnet.safetensors")
    weights = {prefix + name.removeprefix("control_model."): value for name, value in weights.items()}
    save_file(weights, tmp_path / "net.safetensors")
    there = load_controlnet(tmp_path / "net.safetensors", CONFIG).state_dict()
    assert len(there) == len(weights)
    for theirs, ours in {
        "time_embed.2.bias": "time_embedding.linear_2.bias",
        "input_blocks.8.1.transformer_blocks.0.attn2.to_k.weight": (
            "down_blocks.2.attentions.1.transformer_blocks.0.attn2.to_k.weight"
        ),
        "zero_convs.7.0.weight": "controlnet_down_blocks.7.weight",
        "middle_block_out.0.bias": "controlnet_mid_block.bias",
        "input_hint_block.0.weight": "controlnet_cond_embedding.conv_in.weight",
        "input_hint_block.12.weight": "controlnet_cond_embedding.blocks.5.weight",
        "input_hint_block.14.weight": "controlnet_cond_embedding.conv_out.weight",
    }.items():
        assert torch.equal(there[ours], weights[prefix + theirs])
    save_file(there, tmp_path / "diffusers.safetensors")
    again = load_controlnet(tmp_path / "diffusers.safetensors", CONFIG).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in there.items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"difference": torch.zeros(1)}, "looks like the difference of a ControlNet to a checkpoint"),
        ({"lora_controlnet": torch.zeros(1)}, "looks like a ControlLoRA"),
        ({"control_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": torch.zeros(320, 1024)},
         "looks like a ControlNet for Stable Diffusion 2"),
        ({"control_model.zero_convs.3.0.bias": None}, "lacks 1 of .* weights, such as controlnet_down_blocks.3.bias"),
    ],
)  # fmt: skip
def test_other_files_are_told_by_name(files, tmp_path, changes, message):
    weights = load_file(files / "controlnet.safetensors") | changes
    save_file({name: value for name, value in weights.items() if value is not None}, tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match=f"net.safetensors is not a .*{message}"):
        load_controlnet(tmp_path / "net.safetensors", CONFIG)


@pytest.mark.parametrize(("name", "kind"), [("sd15", "a checkpoint"), ("lora", "a motion module"), ("motion", "a mo")])
def test_files_of_other_kinds_are_told_by_name(files, name, kind):
    with pytest.raises(ValueError, match=f"{name}.safetensors is not a ControlNet .* looks like {kind}"):
        load_controlnet(files / f"{name}.safetensors", CONFIG)


def test_nothing_in_a_file_is_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return exec, ("raise SystemExit('run')",)

    (tmp_path / "net.pth").write_bytes(pickle.dumps({"weights": Bomb()}))
    with pytest.raises(ValueError, match=r"net\.pth"):
        load_controlnet(tmp_path / "net.pth", CONFIG)
