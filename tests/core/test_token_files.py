"""Tokens of every tool's files, their names, pictures, and mixtures."""

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
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.testing import assert_close

from vcd_core.identity import (
    IDToken,
    convert_id_token,
    find_id_token,
    id_tokens_in,
    load_id_token,
    make_thumbnail,
    mix_id_tokens,
    open_thumbnail,
    save_id_token,
    save_or_reuse_id_token,
    save_partial_id_token,
    save_token_sheet,
    with_strength,
)

VECTORS = torch.randn(4, 768, generator=torch.Generator().manual_seed(0))
PICTURE = make_thumbnail(torch.linspace(0, 1, 96 * 64 * 3).view(64, 96, 3))
TOKEN = IDToken("ava", VECTORS, "woman", 200, "SD15", "2026-01-31", "0a1b", "batch 4, seed 0", (0.5, 0.25), PICTURE)


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


def parameters(**given: torch.Tensor) -> nn.ParameterDict:
    return nn.ParameterDict({key: nn.Parameter(value) for key, value in given.items()})


def parameters_of_2022(**given: torch.Tensor) -> nn.ParameterDict:
    """As PyTorch 1.11 wrote them."""
    old = parameters(**given)
    del vars(old)["_keys"]
    return old


A1111 = {"string_to_token": {"*": 265}, "name": "x", "step": 199, "sd_checkpoint": None, "sd_checkpoint_name": "v1-5"}
LAYOUTS = {
    "ours.safetensors": {"clip_l": VECTORS},
    "a1111.pt": {"string_to_param": {"*": VECTORS}, **A1111},
    "trained.pt": {"string_to_param": {"*": nn.Parameter(VECTORS)}, **A1111},
    "a1111.bin": {"string_to_param": {"*": VECTORS}},
    "first.pt": {"string_to_param": parameters(cat=VECTORS), "string_to_token": {"cat": torch.tensor(2368)}},
    "first_of_2022.pt": {"string_to_param": parameters_of_2022(cat=VECTORS)},
    "kohya.safetensors": {"emb_params": VECTORS},
    "kohya.pt": {"emb_params": VECTORS},
    "diffusers.safetensors": {"<cat-toy>": VECTORS},
    "learned_embeds.bin": {"<cat-toy>": VECTORS},
}


def write(content: object, path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    return path


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


# --- names -------------------------------------------------------------------------------------------


def variant(fingerprint: str, name: str = "ava") -> IDToken:
    return replace(TOKEN, name=name, fingerprint=fingerprint)


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


# --- mixtures ----------------------------------------------------------------------------------------

OTHER = IDToken("kit", 3 * torch.randn(4, 768, generator=torch.Generator().manual_seed(1)), "cat", 100)
every_share = pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.95, 1.0])


def unit(vectors):
    return vectors / vectors.norm(dim=1, keepdim=True)


def test_a_mixture_begins_at_one_and_ends_at_the_other():
    assert_close(mix_id_tokens(TOKEN, OTHER, 0).vectors, TOKEN.vectors)
    assert_close(mix_id_tokens(TOKEN, OTHER, 1).vectors, OTHER.vectors)


@every_share
def test_norms_go_evenly_from_one_to_the_other(share):
    norms = mix_id_tokens(TOKEN, OTHER, share).vectors.norm(dim=1)
    a, b = TOKEN.vectors.norm(dim=1), OTHER.vectors.norm(dim=1)
    assert_close(norms.log(), (1 - share) * a.log() + share * b.log())


@every_share
def test_directions_lie_between_in_the_plane_of_both(share):
    """The angles to the two ends add up to the angle between them: nothing third comes in."""
    mixed, a, b = unit(mix_id_tokens(TOKEN, OTHER, share).vectors), unit(TOKEN.vectors), unit(OTHER.vectors)

    def angle(x, y):
        return (x.double() * y.double()).sum(dim=1).clamp(-1, 1).acos()

    # acos loses half of the digits near 1: √(float32's 1e-7)
    assert_close(angle(mixed, a) + angle(mixed, b), angle(a, b), rtol=0, atol=2e-3)


@every_share
def test_mixing_is_the_same_from_both_sides(share):
    assert_close(mix_id_tokens(TOKEN, OTHER, share).vectors, mix_id_tokens(OTHER, TOKEN, 1 - share).vectors)


@every_share
def test_a_token_mixed_with_itself_is_itself(share):
    assert_close(mix_id_tokens(TOKEN, TOKEN, share).vectors, TOKEN.vectors)


def test_opposites_and_zeros_stay_finite():
    zero = replace(TOKEN, vectors=torch.zeros(4, 768))
    for other in (replace(TOKEN, vectors=-TOKEN.vectors), zero):
        assert torch.isfinite(mix_id_tokens(TOKEN, other, 0.5).vectors).all()
    assert_close(mix_id_tokens(TOKEN, zero, 0).vectors, TOKEN.vectors)
    assert_close(mix_id_tokens(TOKEN, zero, 1).vectors, zero.vectors)


def test_a_mixture_answers_to_the_first_name_and_passes_for_neither():
    nearer, farther = mix_id_tokens(TOKEN, OTHER, 0.25), mix_id_tokens(TOKEN, OTHER, 0.75)
    assert (nearer.prompt, farther.prompt) == ("embedding:ava woman", "embedding:ava cat")
    assert (nearer.fingerprint, nearer.thumbnail) == ("", b"")
    assert nearer.settings == "0.75 ava, 0.25 kit"


@pytest.mark.parametrize("shape", [(2, 768), (4, 128)])
def test_tokens_that_do_not_match_are_not_mixed(shape):
    with pytest.raises(ValueError, match=r"'ava' has 4 vectors of 768 numbers and 'odd' has \d of \d+"):
        mix_id_tokens(TOKEN, IDToken("odd", torch.ones(shape), "cat", 1), 0.5)


@pytest.mark.parametrize("share", [-0.01, 1.01, math.nan])
def test_a_share_lies_between_0_and_1(share):
    with pytest.raises(ValueError, match="share must lie"):
        mix_id_tokens(TOKEN, OTHER, share)


def test_strength_goes_from_the_noun_through_the_token():
    noun = torch.randn(3, 768, generator=torch.Generator().manual_seed(2))
    repeated = noun[[0, 1, 2, 0]]
    assert_close(with_strength(TOKEN, noun, 0).vectors, repeated)
    assert_close(with_strength(TOKEN, noun, 1).vectors, TOKEN.vectors)
    likeness = [
        (unit(with_strength(TOKEN, noun, strength).vectors) * unit(repeated)).sum(dim=1)
        for strength in (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
    ]
    assert all((later < earlier).all() for earlier, later in zip(likeness, likeness[1:], strict=False))
    assert with_strength(TOKEN, noun, 0.5).prompt == TOKEN.prompt


def test_strength_beyond_1_never_turns_a_norm_around():
    noun = 10 * torch.randn(1, 768, generator=torch.Generator().manual_seed(2))
    strong = with_strength(TOKEN, noun, 2).vectors
    assert_close(strong.norm(dim=1), TOKEN.vectors.norm(dim=1) ** 2 / noun.norm())


@pytest.mark.parametrize("strength", [-0.1, 2.1, math.nan])
def test_strength_has_limits(strength):
    with pytest.raises(ValueError, match="strength must lie"):
        with_strength(TOKEN, torch.ones(1, 768), strength)


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
