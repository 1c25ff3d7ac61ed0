"""Prompts find the token that the graph gives them, and it alone."""

import os
from pathlib import Path

import folder_paths
import narrow_model
import pytest
import torch
from app.model_manager import ModelFileManager
from comfy.sd1_clip import SDTokenizer
from PIL import Image
from safetensors.torch import save_file
from vcd_pack.nodes.host.prompts import noun_vectors
from vcd_pack.nodes.tokens import LoadIDToken
from vcd_pack.vcd_core.identity import IDToken, make_thumbnail, mix_id_tokens, save_id_token, with_strength


def embeddings() -> Path:
    return Path(folder_paths.get_folder_paths("embeddings")[0])


def token(name: str, value: float, width: int = narrow_model.WIDTH) -> IDToken:
    """Three vectors of one number and its negative, so that each tells where it comes from."""
    return IDToken(name, value * torch.tensor([1.0, -1.0]).repeat(3, width // 2), "woman", 1, base="Narrow")


def found(clip, prompt: str) -> list[float]:
    """The values of the vectors in an encoded prompt."""
    (row,) = clip.tokenize(prompt)["l"]
    return [piece[0].item() for piece, _ in row if isinstance(piece, torch.Tensor)]


@pytest.fixture
def clip():
    with torch.inference_mode():
        return narrow_model.clip(str(embeddings()))


def test_a_trained_token_is_found_although_its_file_holds_another(clip):
    save_id_token(token("shared", 2.0), embeddings(), overwrite=True)
    learned, prompt = LoadIDToken.execute(clip, "(none)", token("shared", 1.0)).result
    assert prompt == "embedding:shared woman"
    assert found(learned, f"a photo of {prompt}, on a beach") == [1.0] * 3
    assert found(learned, "embedding:shared, smiling") == [1.0] * 3
    assert found(clip, prompt) == [2.0] * 3
    (embeddings() / "shared.safetensors").unlink()
    assert found(learned, prompt) == [1.0] * 3


def test_a_prompt_is_encoded_with_it(clip):
    with torch.inference_mode():
        learned, prompt = LoadIDToken.execute(clip, "(none)", token("encoded", 1.0)).result
        other, _ = LoadIDToken.execute(clip, "(none)", token("encoded", -1.0)).result
        encoded = [one.encode_from_tokens(one.tokenize(prompt)) for one in (learned, other, learned)]
    assert torch.equal(encoded[0], encoded[2])
    assert not torch.allclose(encoded[0], encoded[1], atol=1e-3)


def test_several_tokens_and_other_embeddings_stand_in_one_prompt(clip):
    save_id_token(token("other", 3.0), embeddings(), overwrite=True)
    one, _ = LoadIDToken.execute(clip, "(none)", token("one", 1.0)).result
    both, _ = LoadIDToken.execute(one, "(none)", token("two", 2.0)).result
    prompt = "embedding:one woman, embedding:other and embedding:two"
    assert found(both, prompt) == [1.0] * 3 + [3.0] * 3 + [2.0] * 3
    assert found(clip, prompt) == [3.0] * 3


def test_nothing_else_of_the_clip_changes(clip):
    before = dict(vars(clip.tokenizer)), dict(vars(clip.tokenizer.clip_l)), SDTokenizer._try_get_embedding
    learned, _ = LoadIDToken.execute(clip, "(none)", token("alone", 1.0)).result
    assert (dict(vars(clip.tokenizer)), dict(vars(clip.tokenizer.clip_l)), SDTokenizer._try_get_embedding) == before
    assert learned.cond_stage_model is clip.cond_stage_model


def test_a_file_is_read_again_when_it_has_changed(clip):
    path = save_id_token(token("trained", 1.0), embeddings(), overwrite=True)
    assert LoadIDToken.validate_inputs(file="trained.safetensors") is True
    first, prompt = LoadIDToken.execute(clip, "trained.safetensors").result
    assert found(first, prompt) == [1.0] * 3
    before = LoadIDToken.fingerprint_inputs(file="trained.safetensors")
    mixed = LoadIDToken.fingerprint_inputs(file="(none)", second_token="trained.safetensors")
    assert LoadIDToken.fingerprint_inputs(file="trained.safetensors") == before
    save_id_token(token("trained", 2.0), embeddings(), overwrite=True)
    os.utime(path, (1, 1))
    assert LoadIDToken.fingerprint_inputs(file="trained.safetensors") != before
    assert LoadIDToken.fingerprint_inputs(file="(none)", second_token="trained.safetensors") != mixed
    second, _ = LoadIDToken.execute(clip, "trained.safetensors").result
    assert [found(one, prompt) for one in (first, second)] == [[1.0] * 3, [2.0] * 3]


def test_a_token_of_another_model_is_refused(clip):
    with pytest.raises(
        ValueError, match=r"'wide' has vectors of 768 numbers, trained on Narrow, and the clip takes 32"
    ):
        LoadIDToken.execute(clip, "(none)", token("wide", 1.0, width=768))
    clip.tokenizer = type("Tokenizer", (), {"clip_g": None})()
    with pytest.raises(ValueError, match="takes none of them"):
        LoadIDToken.execute(clip, "(none)", token("foreign", 1.0))


def test_what_is_not_there_is_named(clip):
    with pytest.raises(ValueError, match="no ID token: choose a file, or connect"):
        LoadIDToken.execute(clip, "(none)")
    for name in ("absent.safetensors", "../../secret.safetensors", "/etc/passwd"):
        assert name in LoadIDToken.validate_inputs(file=name)
        assert name in LoadIDToken.validate_inputs(file="(none)", second_token=name)
    assert LoadIDToken.validate_inputs(file=None) is True


@pytest.mark.parametrize("said", ["absent", "absent, smiling", "(embedding:absent:1.2)", "a photo of embedding:absent"])
def test_a_prompt_that_names_what_is_not_there_is_an_error(clip, said):
    learned, _ = LoadIDToken.execute(clip, "(none)", token("there", 1.0)).result
    twice, _ = LoadIDToken.execute(learned, "(none)", token("too", 1.0)).result
    prompt = said if "embedding:" in said else f"embedding:{said}"
    for one in (learned, twice):
        with pytest.raises(ValueError, match="names embedding:absent, and ") as caught:
            one.tokenize(prompt)
        assert str(embeddings()) in str(caught.value)
    assert found(clip, prompt) == []


def test_a_prompt_that_names_an_embedding_of_another_width_is_an_error(clip):
    save_file({"clip_l": torch.ones(2, 768)}, embeddings() / "wide.safetensors")
    learned, _ = LoadIDToken.execute(clip, "(none)", token("there", 1.0)).result
    with pytest.raises(ValueError, match="names embedding:wide, whose vectors have 768 numbers, and the clip takes 32"):
        learned.tokenize("embedding:wide woman")


def test_a_prompt_without_a_name_is_an_error(clip):
    learned, _ = LoadIDToken.execute(clip, "(none)", token("there", 1.0)).result
    with pytest.raises(ValueError, match="without a name"):
        learned.tokenize("a photo of embedding:")


def test_a_clip_without_a_folder_of_embeddings_learns_a_token_all_the_same():
    with torch.inference_mode():
        bare = narrow_model.clip(None)
    learned, prompt = LoadIDToken.execute(bare, "(none)", token("there", 1.0)).result
    assert found(learned, prompt) == [1.0] * 3
    with pytest.raises(ValueError, match="names embedding:absent"):
        learned.tokenize("embedding:absent")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a1111.pt", {"string_to_param": {"*": torch.full((3, narrow_model.WIDTH), 4.0)}}),
        ("learned_embeds.bin", {"<cat-toy>": torch.full((3, narrow_model.WIDTH), 4.0)}),
    ],
)
def test_files_of_other_tools_are_offered_and_read(clip, name, content):
    torch.save(content, embeddings() / name)
    (embeddings() / "notes.txt").write_text("no token")
    folder_paths.filename_list_cache.clear()
    schema = LoadIDToken.define_schema()
    offered = {one.id: one.options for one in schema.inputs if one.id in ("file", "second_token")}
    for options in offered.values():
        assert name in options
        assert "notes.txt" not in options
    learned, prompt = LoadIDToken.execute(clip, name).result
    assert prompt == f"embedding:{Path(name).stem}"
    assert found(learned, prompt) == [4.0] * 3


@pytest.mark.parametrize("name", ["my token", "mary.v2"])
def test_a_file_whose_name_no_prompt_can_call_says_to_rename_it(clip, name):
    save_file({"clip_l": torch.ones(3, narrow_model.WIDTH)}, embeddings() / f"{name}.safetensors")
    with pytest.raises(ValueError, match=f"{name}' cannot be used: .* Rename its file"):
        LoadIDToken.execute(clip, f"{name}.safetensors")


def vectors_of(clip, name: str) -> torch.Tensor:
    (row,) = clip.tokenize(f"embedding:{name}")["l"]
    return torch.stack([piece for piece, _ in row if isinstance(piece, torch.Tensor)])


def distinct(name: str, seed: int, noun: str = "woman") -> IDToken:
    generator = torch.Generator().manual_seed(seed)
    return IDToken(name, torch.randn(3, narrow_model.WIDTH, generator=generator), noun, 1)


def test_strength_begins_at_the_noun_s_own_embedding(clip):
    learned = distinct("ava", 1, noun="old woman")
    with torch.inference_mode():
        nobody, prompt = LoadIDToken.execute(clip, "(none)", learned, strength=0.0).result
        half, _ = LoadIDToken.execute(clip, "(none)", learned, strength=0.5).result
        words = clip.tokenize("old woman")["l"][0]
    table = clip.cond_stage_model.clip_l.transformer.get_input_embeddings().weight
    old, woman = (table[words[place][0]].float() for place in (1, 2))
    torch.testing.assert_close(vectors_of(nobody, "ava"), torch.stack([old, woman, old]))
    torch.testing.assert_close(vectors_of(half, "ava"), with_strength(learned, torch.stack([old, woman]), 0.5).vectors)
    torch.testing.assert_close(noun_vectors(clip, learned), torch.stack([old, woman]))
    assert prompt == "embedding:ava old woman"


def test_strength_needs_a_noun_and_a_clip_that_fits(clip):
    with pytest.raises(ValueError, match="does not say what the subject is"):
        LoadIDToken.execute(clip, "(none)", distinct("ava", 1, noun=""), strength=0.5)
    with pytest.raises(ValueError, match="the clip takes 32"):
        LoadIDToken.execute(clip, "(none)", token("wide", 1.0, width=768), strength=0.5)


def test_a_second_token_is_mixed_in(clip):
    first, second = distinct("ava", 1), distinct("kit", 2, noun="cat")
    save_id_token(second, embeddings(), overwrite=True)
    mixed, prompt = LoadIDToken.execute(clip, "(none)", first, second_token="kit.safetensors", share=0.75).result
    assert prompt == "embedding:ava cat"
    torch.testing.assert_close(vectors_of(mixed, "ava"), mix_id_tokens(first, second, 0.75).vectors)


def test_the_node_shows_the_pictures_that_files_have(clip):
    assert LoadIDToken.execute(clip, "(none)", token("plain", 1.0)).ui is None
    for name, colour in (("red", [1.0, 0, 0]), ("blue", [0, 0, 1.0])):
        picture = make_thumbnail(torch.tensor(colour).expand(64, 64, 3))
        seen = IDToken(name, torch.ones(3, narrow_model.WIDTH), "woman", 1, thumbnail=picture)
        save_id_token(seen, embeddings(), overwrite=True)
    output = LoadIDToken.execute(clip, "red.safetensors", second_token="blue.safetensors")
    shown = []
    for entry in output.ui.as_dict()["images"]:
        with Image.open(Path(folder_paths.get_temp_directory()) / entry["subfolder"] / entry["filename"]) as picture:
            shown.append(picture.convert("RGB").getpixel((64, 64)))
    assert all(abs(a - b) < 20 for a, b in zip(sum(shown, ()), (255, 0, 0, 0, 0, 255), strict=True))
    (preview,) = ModelFileManager().get_model_previews(str(embeddings() / "red.safetensors"))
    with Image.open(preview) as picture:
        assert picture.size == (128, 128)
