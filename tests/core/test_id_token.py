"""The token file."""

import json
import math
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from vcd_core.identity import IDToken, check_token_name, load_id_token, save_id_token

TOKEN = IDToken("ava", torch.randn(4, 768), "woman", 200, base="SD15", date="2026-01-31")


def test_a_token_survives_its_file(tmp_path):
    path = save_id_token(TOKEN, tmp_path)
    loaded = load_id_token(path)
    assert torch.equal(loaded.vectors, TOKEN.vectors)
    assert (loaded.name, loaded.noun, loaded.steps, loaded.base, loaded.date) == (
        "ava",
        "woman",
        200,
        "SD15",
        "2026-01-31",
    )
    assert loaded.prompt == "embedding:ava woman"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_what_other_tools_read(tmp_path):
    path = save_id_token(TOKEN, tmp_path)
    assert {key: value.shape for key, value in load_file(path).items()} == {"clip_l": (4, 768)}
    assert path.stat().st_size < 13_000
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])
    assert header["__metadata__"]["noun"] == "woman"


@pytest.mark.parametrize(
    "name", ["", "../ava", "a/b", "a\\b", "/etc/ava", "a b", "ava.safetensors", ".ava", "a:b", "a,b", "x" * 65, "a\n"]
)
def test_a_name_cannot_leave_its_folder_or_break_a_prompt(tmp_path, name):
    with pytest.raises(ValueError, match="token name"):
        save_id_token(IDToken(name, TOKEN.vectors, "woman", 1), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["ava", "Ava_2", "ava-b", "アヴァ", "7"])
def test_ordinary_names_pass(name):
    assert check_token_name(name) == name


def test_nothing_is_overwritten_by_accident(tmp_path):
    path = save_id_token(TOKEN, tmp_path)
    other = IDToken("ava", torch.zeros(2, 768), "cat", 1)
    with pytest.raises(ValueError, match="exists already"):
        save_id_token(other, tmp_path)
    assert load_id_token(path).noun == "woman"
    save_id_token(other, tmp_path, overwrite=True)
    assert load_id_token(path).noun == "cat"


def test_a_token_has_the_permissions_of_any_file(tmp_path):
    (tmp_path / "other").write_bytes(b"")
    assert save_id_token(TOKEN, tmp_path).stat().st_mode == (tmp_path / "other").stat().st_mode


def test_vectors_that_are_not_finite_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="not finite"):
        save_id_token(IDToken("ava", torch.tensor([[math.nan]]), "woman", 1), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_damaged_or_foreign_file_is_named(tmp_path):
    path = save_id_token(TOKEN, tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"ava\.safetensors cannot be read"):
        load_id_token(path)
    save_file({"other": torch.zeros(1), "another": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match=r"foreign\.safetensors holds no ID token"):
        load_id_token(tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match="cannot be read"):
        load_id_token(tmp_path / "absent.safetensors")
