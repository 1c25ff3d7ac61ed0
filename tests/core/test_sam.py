"""SAM from its published file, and a clear word about everything else."""

import pickle
import sys

import pytest
import torch
from safetensors.torch import save_file

from vcd_core.vision import Sam, load_sam

SDXL = {f"{name}.weight": torch.zeros(2) for name in ("model.diffusion_model.out.2", "conditioner.embedders.0.x")}


@pytest.fixture(scope="module")
def vit_b():
    """Every tensor in its published shape, each with numbers of its own; its rows are one, so that files are small."""
    import segment_anything

    with torch.device("meta"):
        shapes = segment_anything.sam_model_registry["vit_b"](checkpoint=None).state_dict()
    return {
        name: (torch.arange(value.shape[-1]) / value.shape[-1] + number).half().expand(value.shape)
        for number, (name, value) in enumerate(shapes.items())
    }


def test_sam_is_recognised_and_read_from_its_published_file(vit_b, tmp_path):
    path = tmp_path / "renamed by its user.pth"
    torch.save(vit_b, path)
    network = load_sam(path).network
    loaded = network.state_dict()
    assert loaded.keys() == vit_b.keys()
    for name, value in vit_b.items():
        row = value[(0,) * (value.ndim - 1)].float()
        assert loaded[name].dtype == torch.float32
        assert torch.equal(loaded[name], row.expand(value.shape)), name
    assert not any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers()))
    assert network.pixel_mean.flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])
    assert not network.training


@pytest.mark.parametrize(("width", "variant"), [(1024, "vit_l"), (1280, "vit_h")])
def test_the_larger_variants_are_told_by_their_tensors(width, variant, tmp_path):
    """By what a file lacks: whole ones would be 1.2 and 2.6 GB."""
    torch.save({"image_encoder.patch_embed.proj.weight": torch.zeros(width, 3, 16, 16)}, tmp_path / "large.pth")
    with pytest.raises(ValueError, match=rf"large\.pth .* resembles SAM {variant} .* is missing, and \d{{3}} more"):
        load_sam(tmp_path / "large.pth")


def test_a_small_sam_through_the_same_builder_masks_a_picture():
    from segment_anything.build_sam import _build_sam

    torch.manual_seed(0)
    network = _build_sam(
        encoder_embed_dim=16, encoder_depth=1, encoder_num_heads=1, encoder_global_attn_indexes=[], checkpoint=None
    )
    mask = Sam(network).mask(torch.rand(30, 50, 3), (5.0, 5.0, 20.0, 25.0))
    assert mask.shape == (30, 50)
    assert mask.dtype == torch.float32
    assert set(mask.unique().tolist()) <= {0.0, 1.0}


class Malicious:
    def __reduce__(self):
        return open, ("the pickle was run", "w")


BAD_SAMS = {
    "sam.pth": (b"not a model", "damaged or no PyTorch file: download it again"),
    "empty.pth": (b"", "is empty"),
    "pickle.pth": (pickle.dumps({"model": Malicious()}, protocol=2), "Loading it could run code"),
    "sdxl.safetensors": (SDXL, "looks like a Stable Diffusion checkpoint: use sam_vit_b"),
    "mobile_sam.pt": ({"image_encoder.layers.0.blocks.0.conv1.c.weight": torch.zeros(1)}, "looks like MobileSAM"),
    "other.pth": ({"a.weight": torch.zeros(1)}, r"holds weights such as a\.weight"),
    "nothing.pth": ({}, "holds no weights"),
}


@pytest.mark.parametrize("name", BAD_SAMS)
def test_a_bad_sam_file_is_named_and_never_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content, message = BAD_SAMS[name]
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif name.endswith(".safetensors"):
        save_file(content, tmp_path / name)
    else:
        torch.save(content, tmp_path / name)
    with pytest.raises(ValueError, match=message) as error:
        load_sam(tmp_path / name)
    assert name in str(error.value)
    assert not (tmp_path / "the pickle was run").exists()


def test_a_sam_file_that_was_not_downloaded_whole(vit_b, tmp_path):
    few = dict(list(vit_b.items())[:3])
    torch.save(few, tmp_path / "sam.pth")
    content = (tmp_path / "sam.pth").read_bytes()
    (tmp_path / "sam.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"sam\.pth is damaged"):
        load_sam(tmp_path / "sam.pth")
    with pytest.raises(ValueError, match=r"there is no file absent\.pth in"):
        load_sam(tmp_path / "absent.pth")


def test_a_sam_with_more_than_sam_has(vit_b, tmp_path):
    torch.save({**vit_b, "mask_decoder.hf_token.weight": torch.zeros(1)}, tmp_path / "hq.pth")
    with pytest.raises(ValueError, match=r"not it: mask_decoder\.hf_token\.weight is unknown\. Use sam_vit_b"):
        load_sam(tmp_path / "hq.pth")


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    torch.save({"image_encoder.patch_embed.proj.weight": torch.zeros(768, 3, 16, 16)}, tmp_path / "sam.pth")
    monkeypatch.setitem(sys.modules, "segment_anything", None)
    with pytest.raises(ImportError, match="pip install segment-anything"):
        load_sam(tmp_path / "sam.pth")
