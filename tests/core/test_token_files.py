"""Token files: what ours keep, and those of every tool."""

import base64
import errno
import json
import math
import os
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from id_tokens import LAYOUTS, PICTURE, TOKEN, VECTORS, parameters, write
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from vcd_core.identity import convert_id_token, id_tokens_in, load_id_token, save_id_token


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata()


# --- what a file keeps -------------------------------------------------------------------------------


def test_everything_known_of_a_token_survives_its_file(tmp_path):
    loaded = load_id_token(save_id_token(TOKEN, tmp_path))
    assert torch.equal(loaded.vectors, VECTORS)
    assert replace(loaded, vectors=TOKEN.vectors) == TOKEN


def test_a_picture_is_the_only_thing_that_makes_a_file_large(tmp_path):
    path = save_id_token(TOKEN, tmp_path)
    assert load_file(path).keys() == {"clip_l"}
    assert path.stat().st_size < 13_000 + 3 * len(PICTURE)
    assert save_id_token(replace(TOKEN, name="plain", thumbnail=b""), tmp_path).stat().st_size < 13_000


def test_other_programs_find_what_they_look_for(tmp_path):
    """Stability's ModelSpec 1.0.1: its four obligatory keys, and the thumbnail as a data URI."""
    said = metadata(save_id_token(TOKEN, tmp_path))
    assert said["modelspec.sai_model_spec"] == "1.0.1"
    assert said["modelspec.architecture"] == "stable-diffusion-v1/textual-inversion"
    assert said["modelspec.implementation"]
    assert (said["modelspec.title"], said["modelspec.date"]) == ("ava", "2026-01-31")
    start, encoded = said["modelspec.thumbnail"].split(",")
    assert start == "data:image/jpeg;base64"
    with Image.open(BytesIO(base64.b64decode(encoded))) as picture:
        assert (picture.format, picture.size) == ("JPEG", (128, 128))
    assert json.loads(said["ssmd_cover_images"]) == [encoded]


def test_a_token_of_another_width_does_not_claim_stable_diffusion(tmp_path):
    said = metadata(save_id_token(replace(TOKEN, vectors=torch.zeros(2, 128)), tmp_path))
    assert [key for key in said if key.startswith("modelspec.")] == ["modelspec.thumbnail"]


def test_files_of_before_keep_loading():
    old = load_id_token(Path(__file__).parents[1] / "data" / "early_mia.safetensors")
    assert (old.noun, old.fingerprint, old.settings, old.losses, old.thumbnail) == ("woman", "", "", (), b"")
    assert old.steps > 0


@pytest.mark.parametrize(
    "uri", ["data:image/png;base64,YWJjZ", "data:image/jpeg;base64,%%%", "data:image/jpeg;base64,YQ"]
)
def test_a_broken_picture_is_no_reason_to_refuse_a_token(tmp_path, uri):
    path = tmp_path / "ava.safetensors"
    save_file({"clip_l": VECTORS}, path, {"modelspec.thumbnail": uri})
    assert load_id_token(path).thumbnail == b""


# --- other tools' files ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_vectors(tmp_path, name):
    path = write(LAYOUTS[name], tmp_path / name)
    token = load_id_token(path)
    assert token.name == Path(name).stem
    assert torch.equal(token.vectors, VECTORS)
    assert not token.vectors.requires_grad


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_becomes_ours(tmp_path, name):
    source = write(LAYOUTS[name], tmp_path / name)
    path = convert_id_token(source, tmp_path / "converted", name="toy", noun=" cat ")
    assert path == tmp_path / "converted" / "toy.safetensors"
    assert load_file(path).keys() == {"clip_l"}
    assert torch.equal(load_file(path)["clip_l"], VECTORS)
    assert load_id_token(path).prompt == "embedding:toy cat"


def test_conversion_keeps_what_the_source_says_and_overwrites_only_when_told(tmp_path):
    source = save_id_token(TOKEN, tmp_path / "source")
    assert replace(load_id_token(convert_id_token(source, tmp_path)), vectors=VECTORS) == TOKEN
    with pytest.raises(ValueError, match="exists already"):
        convert_id_token(source, tmp_path)
    convert_id_token(source, tmp_path, noun="man", overwrite=True)
    assert load_id_token(tmp_path / "ava.safetensors").noun == "man"


def test_what_a1111_says_of_the_training_is_kept(tmp_path):
    token = load_id_token(write(LAYOUTS["a1111.pt"], tmp_path / "a.pt"))
    assert (token.steps, token.base, token.noun) == (199, "v1-5", "")


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float16, torch.bfloat16, torch.float64])
def test_vectors_of_any_precision_become_float32(tmp_path, dtype):
    token = load_id_token(write({"emb_params": VECTORS.to(dtype)}, tmp_path / "half.safetensors"))
    assert torch.equal(token.vectors, VECTORS.to(dtype).float())


def test_a_damaged_archive_is_an_error_and_hides_no_other_token(tmp_path):
    """Nothing of its pickle can be read, and its first entry has another name than in the directory at its end."""
    path = write(LAYOUTS["a1111.pt"], tmp_path / "a.pt")
    path.write_bytes(path.read_bytes().replace(b"\x80\x02}", b"\x80\x02\xff", 1).replace(b"/data.pkl", b"/datX.pkl", 1))
    save_id_token(replace(TOKEN, name="b"), tmp_path)
    with pytest.raises(ValueError, match=r"a\.pt is damaged or no PyTorch file"):
        load_id_token(path)
    assert [token.name for token in id_tokens_in(tmp_path)] == ["b"]


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path, monkeypatch):
    """The system's own names none."""

    def full(path, _content):
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"No space left on device.*ava\.safetensors") as caught:
        save_id_token(TOKEN, tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["one.bin", "one.safetensors"])
def test_one_vector_without_a_second_axis_is_one_vector(tmp_path, name):
    assert load_id_token(write({"<s>": VECTORS[0].clone()}, tmp_path / name)).vectors.shape == (1, 768)


def test_a_loaded_token_does_not_change_with_its_file(tmp_path):
    path = write({"emb_params": VECTORS}, tmp_path / "a.pt")
    token = load_id_token(path)
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert torch.equal(token.vectors, VECTORS)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"clip_l": VECTORS, "clip_g": torch.zeros(4, 1280)}, "made for SDXL"),
        ({"clip_g": torch.zeros(4, 1280)}, "made for SDXL"),
        ({"clip_l": VECTORS, "t5xxl": torch.zeros(4, 4096)}, "made for SD3 or Flux"),
        ({"<a>": VECTORS, "<b>": VECTORS.clone()}, "its 2 tensors .* several subjects"),
        ({"<a>": torch.zeros(1, 4, 768)}, r"\(1, 4, 768\)"),
        ({"<a>": torch.zeros(4, 768, dtype=torch.int64)}, "int64"),
        ({"<a>": torch.zeros(0, 768)}, r"\(0, 768\)"),
        ({"<a>": torch.full((2, 768), math.nan)}, "not finite"),
    ],
)
def test_what_is_not_one_subject_of_sd15_is_refused(tmp_path, content, complaint, suffix):
    path = write(content, tmp_path / f"odd{suffix}")
    with pytest.raises(ValueError, match=complaint) as caught:
        load_id_token(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (VECTORS, "bare Tensor"),
        ([{"<a>": VECTORS}], "bare list"),
        ({"string_to_param": {"*": VECTORS, "+": VECTORS}}, "2 subjects"),
        ({"string_to_param": parameters(a=VECTORS, b=VECTORS)}, "2 subjects"),
        ({"string_to_param": VECTORS}, "0 subjects"),
        ({"step": 3}, "no tensors in it"),
        ({"emb_params": VECTORS, "step": np.int64(3)}, "Python objects besides tensors"),
    ],
)
def test_pickles_that_hold_something_else_are_refused(tmp_path, content, complaint):
    with pytest.raises(ValueError, match=complaint):
        load_id_token(write(content, tmp_path / "odd.pt"))


class Intruder:
    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "wrap", [lambda it: it, lambda it: {"string_to_param": it}, lambda it: {"*": VECTORS, "x": it}]
)
def test_nothing_in_a_file_is_executed(tmp_path, wrap):
    intruder, mark = Intruder(), tmp_path / "executed"
    intruder.path = mark
    path = write(wrap(intruder), tmp_path / "bad.pt")
    with pytest.raises(ValueError, match="bad.pt holds Python objects besides tensors"):
        load_id_token(path)
    assert not mark.exists()


def test_nothing_stays_allowed_after_reading(tmp_path):
    load_id_token(write(LAYOUTS["first.pt"], tmp_path / "first.pt"))
    assert nn.ParameterDict not in torch.serialization.get_safe_globals()


@pytest.mark.parametrize("name", ["absent.pt", "empty.pt", "noise.bin", "noise.safetensors"])
def test_files_that_cannot_be_read_are_named(tmp_path, name):
    if name != "absent.pt":
        (tmp_path / name).write_bytes(b"" if name == "empty.pt" else b"no tensors here" * 9)
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        load_id_token(tmp_path / name)
