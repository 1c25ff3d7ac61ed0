"""Prompts find the token that the graph gives them, and it alone."""

import os
from pathlib import Path

import folder_paths
import narrow_model
import pytest
import torch
from comfy.sd1_clip import SDTokenizer
from vcd_pack.nodes.identity import LoadIDToken
from vcd_pack.vcd_core.identity import IDToken, save_id_token


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
    prompt = "embedding:one woman, embedding:other and embedding:two, embedding:absent"
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
    assert LoadIDToken.fingerprint_inputs(file="trained.safetensors") == before
    save_id_token(token("trained", 2.0), embeddings(), overwrite=True)
    os.utime(path, (1, 1))
    assert LoadIDToken.fingerprint_inputs(file="trained.safetensors") != before
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
    assert LoadIDToken.validate_inputs(file=None) is True
