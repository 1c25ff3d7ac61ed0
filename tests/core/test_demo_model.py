"""The demo model's files: what is written is what is loaded, and nothing else is."""

import json
import os
import shutil
from types import SimpleNamespace

import pytest
import torch
from demo_weights import KNOWN_WORDS, write_random_demo
from safetensors import safe_open
from torch.testing import assert_close

from vcd_core import files as core_files
from vcd_core.motion.lora import LowRank
from vcd_core.standalone.config import DEMO, VOCABULARY
from vcd_core.standalone.demo_model import (
    MODEL_FILE,
    MOTION_FILE,
    STYLE_FILE,
    load_demo_model,
    load_demo_motion,
    read_demo_weights,
    require_memory,
    write_demo_model,
    write_demo_style,
)
from vcd_core.standalone.motion import inserted_motion
from vcd_core.standalone.style import merge_style
from vcd_core.standalone.weights_folder import MANIFEST, manifest_fingerprint, verified_file, write_manifest

PARTS = ("unet", "vae", "text_encoder")


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """demo/weights as it would ship, and what was written into it."""
    folder = tmp_path_factory.mktemp("pack") / "demo" / "weights"
    return folder, *write_random_demo(folder)


@pytest.fixture(scope="module")
def loaded(shipped):
    """What is read back; no test changes it."""
    return load_demo_model(shipped[0])


@pytest.fixture(scope="module")
def moving(shipped):
    return load_demo_motion(shipped[0])


@pytest.fixture
def folder(shipped, tmp_path):
    """A copy whose manifest may be overwritten and whose weights may be replaced: these are links."""

    def copy(source, target):
        return os.link(source, target) if source.endswith(".safetensors") else shutil.copy2(source, target)

    return shutil.copytree(shipped[0], tmp_path / "demo" / "weights", copy_function=copy)


# --- the format -----------------------------------------------------------------------------------------


def test_every_weight_comes_back_in_half_precision(shipped, loaded, moving):
    _, written, motion, _ = shipped
    for part in PARTS:
        before, after = getattr(written, part).state_dict(), getattr(loaded, part).state_dict()
        assert before.keys() == after.keys()
        for name, value in after.items():
            assert torch.equal(value, before[name].half().float()), name
        assert not any(weight.requires_grad for weight in getattr(loaded, part).parameters())
    assert loaded.scaling_factor == DEMO.scaling_factor
    assert moving.config == motion.config
    for name, value in moving.state_dict().items():
        assert torch.equal(value, motion.state_dict()[name].half().float()), name


def test_the_names_are_those_of_published_checkpoints(shipped):
    """Where one block a level and a level without attention make the numbers differ from SD1.5's."""
    with safe_open(shipped[0] / MODEL_FILE, framework="pt") as file:
        names = set(file.keys())
        assert {file.get_tensor(name).dtype for name in names} == {torch.float16, torch.int32}
    assert names >= {
        "model.diffusion_model.input_blocks.1.0.in_layers.2.weight",
        "model.diffusion_model.input_blocks.2.0.op.weight",
        "model.diffusion_model.input_blocks.5.1.transformer_blocks.0.attn2.to_k.weight",
        "model.diffusion_model.middle_block.2.out_layers.3.weight",
        "model.diffusion_model.output_blocks.1.2.conv.weight",
        "model.diffusion_model.output_blocks.5.0.skip_connection.weight",
        "first_stage_model.encoder.down.2.downsample.conv.weight",
        "first_stage_model.encoder.down.2.block.0.nin_shortcut.weight",
        "first_stage_model.decoder.up.1.upsample.conv.bias",
        "first_stage_model.decoder.mid.attn_1.proj_out.weight",
        "cond_stage_model.transformer.text_model.encoder.layers.3.mlp.fc1.weight",
    }
    assert not any("input_blocks.1.1." in name or "output_blocks.5.1." in name for name in names)


def test_words_that_were_not_trained_share_one_row(shipped):
    folder, written, *_ = shipped
    table = read_demo_weights(folder)["cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"]
    assert table.shape == (VOCABULARY, DEMO.text_width)
    assert torch.equal(table, written.text_encoder.get_input_embeddings().weight.half())
    assert (folder / MODEL_FILE).stat().st_size < table.nbytes + 2 * 10**7
    others = table[torch.ones(VOCABULARY, dtype=torch.bool).index_fill(0, torch.tensor(KNOWN_WORDS), False)]
    assert torch.equal(others, others[:1].expand_as(others))
    assert len(torch.cat([table[KNOWN_WORDS], others[:1]]).unique(dim=0)) == len(KNOWN_WORDS) + 1


def test_words_that_would_be_lost_are_not_written(shipped, tmp_path):
    _, written, *_ = shipped
    with pytest.raises(ValueError, match="outside vocabulary_ids differ"):
        write_demo_model(tmp_path, written.unet, written.vae, written.text_encoder, KNOWN_WORDS[1:])
    assert not list(tmp_path.iterdir())


def test_weights_too_large_for_half_precision_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="not finite in float16"):
        write_demo_style(tmp_path, {"conv_in": LowRank(torch.full((64, 1), 1e6), torch.ones(1, 36), None)})


@torch.no_grad()
def test_frames_see_each_other_at_every_level(loaded, moving, rng):
    """Motion sits behind the one ResNet block of the level without attention, too."""
    x, context = torch.randn(3, 4, 8, 8, generator=rng), torch.randn(3, 77, DEMO.text_width, generator=rng)
    seen = []
    hooks = [
        slot.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
        for block in (*moving.down_blocks, *moving.up_blocks)
        for slot in (slot.temporal_transformer for slot in block.motion_modules)
    ]
    alone = loaded.predict_noise(x, torch.tensor([500]), context)
    with inserted_motion(loaded.unet, moving):
        together = loaded.predict_noise(x, torch.tensor([500]), context)
    assert seen == [64, 128, 192, 192, 192, 128, 128, 64, 64]
    assert not torch.allclose(alone, together, atol=1e-3)
    for hook in hooks:
        hook.remove()


# --- the second style -----------------------------------------------------------------------------------


def test_the_style_adds_its_product_to_the_layers_it_names(shipped, loaded):
    folder, _, _, style = shipped
    plain, styled = (model.unet.state_dict() for model in (loaded, load_demo_model(folder, style=True)))
    for name, value in plain.items():
        layer, _, kind = name.rpartition(".")
        if layer not in style or kind != "weight":
            assert torch.equal(styled[name], value), name
            continue
        up, down, alpha = style[layer]
        added = torch.einsum("or,r...->o...", up.half().float().flatten(1), down.half().float()) * alpha / len(down)
        assert_close(styled[name], value + added, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("wrong", ["conv_nowhere", "conv_in", "conv_act"])
def test_a_style_for_another_unet_is_refused(shipped, tmp_path, wrong):
    path = write_demo_style(tmp_path, {wrong: LowRank(torch.ones(3, 1), torch.ones(1, 3), None)})
    unet = shipped[1].unet
    before = unet.conv_in.weight.clone()
    with pytest.raises(ValueError, match=f"no style for this UNet: lora_unet_{wrong} "):
        merge_style(unet, path)
    assert torch.equal(unet.conv_in.weight, before)


# --- the manifest ---------------------------------------------------------------------------------------


def put_in_place(path, content):
    path.unlink()
    path.write_bytes(content)


def truncate(path):
    put_in_place(path, path.read_bytes()[:-1])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    put_in_place(path, content)


LOADERS = {
    MODEL_FILE: load_demo_model,
    MOTION_FILE: load_demo_motion,
    STYLE_FILE: lambda folder: load_demo_model(folder, style=True),
}


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (os.remove, "is missing"),
        (truncate, r"should have \d+ bytes and has \d+"),
        (flip_a_bit, r"SHA-256 should be [0-9a-f]{64} and is [0-9a-f]{64}"),
    ],
)
def test_a_file_that_is_not_what_shipped_is_refused_with_its_cure(folder, name, damage, complaint):
    verified_file(folder, name)  # it has been read once, and its hash is known
    damage(folder / name)
    with pytest.raises(ValueError, match=complaint) as caught:
        LOADERS[name](folder)
    assert str(folder / name) in str(caught.value)
    assert f"`git checkout -- demo/weights/{name}`" in str(caught.value)


def test_the_model_needs_no_style(folder):
    (folder / STYLE_FILE).unlink()
    write_manifest(folder)
    load_demo_model(folder)
    with pytest.raises(ValueError, match=r"demo-style\.safetensors is missing"):
        load_demo_model(folder, style=True)


@pytest.mark.parametrize(
    "content",
    ["", "<<<<<<< HEAD", "[]", "{}", '{"files": []}', '{"files": {"demo-model.safetensors": {"size": 1}}}', "\xff"],
)
def test_a_damaged_manifest_is_refused(folder, content):
    (folder / MANIFEST).write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=r"manifest\.json is damaged.*git checkout -- demo/weights/manifest\.json"):
        load_demo_model(folder)


def test_a_missing_manifest_or_folder_is_refused(folder):
    (folder / MANIFEST).unlink()
    for place in (folder, folder / "absent"):
        with pytest.raises(ValueError, match=r"manifest\.json is missing"):
            load_demo_model(place)
        assert manifest_fingerprint(place) == ""


def test_a_file_the_manifest_does_not_list_is_refused(folder):
    content = json.loads((folder / MANIFEST).read_text())
    del content["files"][MOTION_FILE]
    (folder / MANIFEST).write_text(json.dumps(content))
    load_demo_model(folder)
    with pytest.raises(ValueError, match=r"manifest\.json does not list demo-motion\.safetensors"):
        load_demo_motion(folder)


def test_the_manifest_lists_whatever_is_there_and_changes_with_it(folder):
    before = manifest_fingerprint(folder)
    write_manifest(folder)
    assert manifest_fingerprint(folder) == before
    (folder / "face-detector.safetensors").write_bytes(b"detector")
    (folder / ".demo-model.safetensors.1.part").write_bytes(b"unfinished")
    write_manifest(folder)
    assert manifest_fingerprint(folder) != before
    assert verified_file(folder, "face-detector.safetensors").read_bytes() == b"detector"
    listed = json.loads((folder / MANIFEST).read_text())["files"]
    assert set(listed) == {MODEL_FILE, MOTION_FILE, STYLE_FILE, "face-detector.safetensors"}


def test_a_fingerprint_can_be_that_of_some_files(folder):
    def fingerprints(content):
        (folder / "reader.safetensors").write_bytes(content)
        write_manifest(folder)
        return manifest_fingerprint(folder, [MODEL_FILE, MOTION_FILE]), manifest_fingerprint(folder)

    (first, whole), (second, changed) = fingerprints(b"one"), fingerprints(b"two")
    assert first == second
    assert whole != changed
    assert (
        manifest_fingerprint(folder, [MODEL_FILE]) != first == manifest_fingerprint(folder, [MOTION_FILE, MODEL_FILE])
    )
    assert manifest_fingerprint(folder, ["reader.safetensors"]) != manifest_fingerprint(folder, ["none"])


def test_a_file_is_read_for_its_hash_once(folder):
    core_files._sha256.cache_clear()
    for _ in range(3):
        verified_file(folder, MODEL_FILE)
    assert core_files._sha256.cache_info().misses == 1


def test_too_little_memory_is_said_in_numbers(monkeypatch):
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=int(0.9 * 2**30)))
    with pytest.raises(ValueError, match=r"needs 2\.0 GB of free memory and 0\.9 GB are free: close"):
        require_memory()
    require_memory(2**29)
