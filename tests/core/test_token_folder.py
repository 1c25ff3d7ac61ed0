"""Folders of tokens: the names that files get, and what lists and sheets show."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from id_tokens import LAYOUTS, PICTURE, TOKEN, VECTORS, write
from PIL import Image
from safetensors.torch import save_file

from vcd_core.identity import (
    IDToken,
    find_id_token,
    id_tokens_in,
    load_id_token,
    make_thumbnail,
    open_thumbnail,
    save_id_token,
    save_or_reuse_id_token,
    save_partial_id_token,
    save_token_sheet,
)


def variant(fingerprint: str, name: str = "ava") -> IDToken:
    return replace(TOKEN, name=name, fingerprint=fingerprint)


# --- names -------------------------------------------------------------------------------------------


def test_the_same_settings_reuse_the_file_and_others_get_a_number(tmp_path):
    names = [save_or_reuse_id_token(variant(fingerprint), tmp_path).stem for fingerprint in "abcab"]
    assert names == ["ava", "ava_2", "ava_3", "ava", "ava_2"]
    assert {path.stem: load_id_token(path).fingerprint for path in tmp_path.iterdir()} == {
        "ava": "a",
        "ava_2": "b",
        "ava_3": "c",
    }


def test_reuse_writes_nothing(tmp_path):
    path = save_or_reuse_id_token(variant("a"), tmp_path)
    before = path.read_bytes()
    assert save_or_reuse_id_token(replace(variant("a"), vectors=VECTORS + 1), tmp_path) == path
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_token_is_found_by_its_settings_under_the_name_it_has_got(tmp_path):
    for fingerprint in "ab":
        save_or_reuse_id_token(variant(fingerprint), tmp_path)
    assert find_id_token(tmp_path, "ava", "a").name == "ava"
    assert find_id_token(tmp_path, "ava", "b").name == "ava_2"
    assert find_id_token(tmp_path, "ava", "c") is None
    assert find_id_token(tmp_path, "kit", "a") is None
    assert find_id_token(tmp_path / "absent", "ava", "a") is None


def test_a_broken_off_training_takes_the_place_of_nothing_but_its_own_earlier_vectors(tmp_path):
    finished = save_id_token(variant("a"), tmp_path)
    stopped = [
        save_partial_id_token(replace(variant(of), steps=steps), tmp_path)
        for of, steps in (("a", 1), ("b", 2), ("a", 3))
    ]
    assert [path.stem for path in stopped] == ["ava_partial", "ava_partial_2", "ava_partial"]
    assert [load_id_token(path).steps for path in (finished, *stopped)] == [TOKEN.steps, 3, 2, 3]
    assert find_id_token(tmp_path, "ava_partial", "a") is None
    assert load_id_token(save_partial_id_token(variant("", "x" * 64), tmp_path)).name == f"{'x' * 56}_partial"


def test_unknown_settings_equal_nothing(tmp_path):
    assert [save_or_reuse_id_token(variant(""), tmp_path).stem for _ in range(3)] == ["ava", "ava_2", "ava_3"]
    assert find_id_token(tmp_path, "ava", "") is None


@pytest.mark.parametrize("name", ["ava.pt", "ava.bin", "ava.safetensors"])
def test_a_file_of_any_tool_or_a_damaged_one_keeps_its_name(tmp_path, name):
    (tmp_path / name).write_bytes(b"somebody's")
    assert save_or_reuse_id_token(variant("a"), tmp_path).stem == "ava_2"
    assert save_or_reuse_id_token(variant("a"), tmp_path).stem == "ava_2"
    assert (tmp_path / name).read_bytes() == b"somebody's"


def test_a_long_name_makes_room_for_its_number(tmp_path):
    names = [save_or_reuse_id_token(variant(fingerprint, "x" * 64), tmp_path).stem for fingerprint in "aba"]
    assert names == ["x" * 64, "x" * 62 + "_2", "x" * 64]


def test_a_name_cannot_leave_its_folder(tmp_path):
    with pytest.raises(ValueError, match="token name"):
        find_id_token(tmp_path, "../a", "f")
    with pytest.raises(ValueError, match="token name"):
        save_or_reuse_id_token(variant("f", "../a"), tmp_path)


# --- pictures and lists ------------------------------------------------------------------------------


def test_a_thumbnail_shows_the_middle_of_the_picture():
    wide = torch.zeros(100, 300, 3)
    wide[:, 100:200, 0] = 1  # a red square in the middle of black
    picture = np.asarray(open_thumbnail(make_thumbnail(wide)))
    assert picture.shape == (128, 128, 3)
    assert np.abs(picture.astype(int) - [255, 0, 0])[2:-2, 2:-2].max() < 20
    assert len(make_thumbnail(torch.rand(512, 512, 3))) < 20_000


@pytest.mark.parametrize("content", [b"", b"no picture", PICTURE[:300]])
def test_a_damaged_picture_is_none(content):
    assert open_thumbnail(content) is None


def test_a_folder_lists_its_tokens_and_nothing_else(tmp_path):
    save_id_token(TOKEN, tmp_path)
    write(LAYOUTS["a1111.pt"], tmp_path / "Bob.pt")
    write(LAYOUTS["learned_embeds.bin"], tmp_path / "cat.bin")
    save_file({"lora.up": VECTORS, "lora.down": VECTORS.clone()}, tmp_path / "lora.safetensors")
    for name in ("readme.txt", "noise.pt", "noise.safetensors"):
        (tmp_path / name).write_bytes(b"noise" * 9)
    (tmp_path / "folder.safetensors").mkdir()
    write(LAYOUTS["a1111.pt"], tmp_path / "checkpoint.ckpt")
    found = id_tokens_in(tmp_path)
    assert [(token.name, token.noun, token.steps) for token in found] == [
        ("ava", "woman", 200),
        ("Bob", "", 199),
        ("cat", "", 0),
    ]
    assert found[0].thumbnail == PICTURE
    with pytest.raises(ValueError, match="no folder"):
        id_tokens_in(tmp_path / "absent")


def test_a_sheet_shows_every_picture_in_its_place(tmp_path):
    def plain(name: str, colour: list[float]) -> IDToken:
        return replace(TOKEN, name=name, thumbnail=make_thumbnail(torch.tensor(colour).expand(64, 64, 3)))

    tokens = [plain("アヴァ" * 20, [1.0, 0, 0]), plain("green", [0, 1.0, 0]), replace(TOKEN, thumbnail=b"")]
    path = save_token_sheet(tokens, tmp_path / "out" / "sheet.png", columns=2)
    with Image.open(path) as sheet:
        assert sheet.format == "PNG"
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    half_height, half_width = pixels.shape[0] // 2, pixels.shape[1] // 2
    corner = [pixels[20, 20], pixels[20, half_width + 20], pixels[half_height + 20, 20]]
    assert np.abs(np.array(corner) - [[255, 0, 0], [0, 255, 0], [128, 128, 128]]).max() < 20
    assert list((tmp_path / "out").iterdir()) == [path]
    gap = pixels[:, half_width - 4 : half_width + 4]
    assert (gap == 255).all(), "a name runs into its neighbour"
    with pytest.raises(ValueError, match="no ID tokens"):
        save_token_sheet([], tmp_path / "none.png")
