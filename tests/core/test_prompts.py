"""From words to the text encoder's vectors, and back to gradients, on a model of a few channels."""

from dataclasses import replace

import pytest
import torch
from narrow_model import NARROW
from random_pipeline import random_model
from torch.testing import assert_close

from vcd_core.identity import PLACEHOLDER, IDToken, load_id_token, masked_loss, save_id_token
from vcd_core.standalone.prompts import parse_prompt, without_tokens
from vcd_core.standalone.tokenizer import clip_tokenizer

pytestmark = pytest.mark.usefixtures("one_thread")

# --- the tokenizer and the text encoder -----------------------------------------------------------------


def test_a_photo_of_a_cat_has_the_ids_everyone_knows(no_network):
    tokenizer = clip_tokenizer()
    ids = tokenizer("a photo of a cat", padding="max_length").input_ids
    assert ids == [49406, 320, 1125, 539, 320, 2368] + [49407] * 71
    assert len(tokenizer) == 49408


def test_plain_words_are_encoded_as_transformers_does(model):
    prompt = "a photo of a red haired woman, on a beach"
    ids = model.tokenizer(prompt, padding="max_length", return_tensors="pt").input_ids
    expected = model.text_encoder(ids).last_hidden_state[0]
    assert_close(model.encode_pieces([prompt]), expected, rtol=0, atol=0)


@pytest.mark.parametrize("prompt", [f"photo of a {PLACEHOLDER} woman, on a beach", f"{PLACEHOLDER} and {PLACEHOLDER}"])
def test_the_vectors_of_real_words_are_encoded_as_those_words(model, prompt):
    learned = model.embed_words("red haired")
    assert_close(
        model.encode_prompt(prompt, learned),
        model.encode_pieces([prompt.replace(PLACEHOLDER, "red haired")]),
        rtol=0,
        atol=1e-6,
    )
    assert not torch.allclose(model.encode_prompt(prompt, learned * 2), model.encode_prompt(prompt, learned))


def test_learned_vectors_leave_the_text_encoder_as_it_was(model):
    before = model.encode_pieces(["a cat"])
    model.encode_prompt(f"a {PLACEHOLDER} cat", torch.randn(4, 32))
    with pytest.raises(IndexError):
        model.encode_prompt(f"a {PLACEHOLDER} cat", torch.randn(4, 32, 1))
    assert torch.equal(model.encode_pieces(["a cat"]), before)
    assert not model.text_encoder.get_input_embeddings()._forward_hooks


def test_gradients_reach_the_vectors_through_both_models(model):
    """Against finite differences of the same loss."""
    generator = torch.Generator().manual_seed(0)
    noised, target = torch.randn(2, 2, 4, 8, 8, generator=generator)
    vectors = (0.02 * torch.randn(2, 32, generator=generator)).requires_grad_()  # as large as words are
    double = replace(model, unet=random_model(0, NARROW).unet.double())

    def loss(vectors):
        context = double.encode_prompt(f"photo of a {PLACEHOLDER} woman", vectors).double().expand(2, -1, -1)
        predicted = double.predict_noise(noised.double(), torch.tensor([100, 700]), context)
        return ((predicted - target) ** 2).sum()

    (gradient,) = torch.autograd.grad(loss(vectors), vectors)
    direction = gradient / gradient.norm()
    with torch.no_grad():
        step = 1e-3
        change = loss(vectors + step * direction) - loss(vectors - step * direction)
    # The text encoder runs in float32, and the difference keeps its rounding.
    assert change.item() / (2 * step) == pytest.approx(gradient.norm().item(), rel=0.02)


def test_training_leaves_the_weights_alone(model):
    vectors = torch.randn(4, 32).requires_grad_()
    context = model.encode_prompt(f"a {PLACEHOLDER}", vectors)[None]
    predicted = model.predict_noise(torch.randn(1, 4, 8, 8), torch.tensor([5]), context)
    masked_loss(predicted, torch.zeros_like(predicted), torch.ones(1, 1, 8, 8)).backward()
    assert vectors.grad.abs().max() > 0
    for part in (model.unet, model.vae, model.text_encoder):
        assert all(weight.grad is None and not weight.requires_grad for weight in part.parameters())


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda model: model.encode_pieces(["word " * 76]), "has 76 tokens, the text encoder takes 75: shorten it"),
        (
            lambda model: model.encode_prompt("word " * 74 + PLACEHOLDER, torch.zeros(2, 32)),
            "has 76 tokens, 2 of them learned, the text encoder takes 75: shorten it",
        ),
        (lambda model: model.encode_prompt(PLACEHOLDER, torch.zeros(2, 768)), "768 numbers each, .* takes 32"),
        (lambda model: model.embed_words("  "), "noun is empty"),
    ],
)
def test_what_the_text_encoder_cannot_take_is_refused(model, call, complaint):
    with pytest.raises(ValueError, match=complaint):
        call(model)


def test_a_prompt_may_be_as_long_as_the_encoder(model):
    assert model.encode_pieces(["word " * 75]).shape == (77, 32)


# --- prompts --------------------------------------------------------------------------------------------


@pytest.fixture
def embeddings(tmp_path):
    for name, width in (("ava", 32), ("bo-2", 32)):
        save_id_token(IDToken(name, torch.randn(2, width), "woman", 1), tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a photo of embedding:ava woman", ["a photo of ", "ava", " woman"]),
        ("embedding:ava.safetensors, and embedding:bo-2.", ["", "ava", ", and ", "bo-2", "."]),
        ("(embedding:ava) at 7:30", ["(", "ava", ") at 7:30"]),
        ("Embedding:ava", ["", "ava", ""]),
        ("nobody", ["nobody"]),
        ("", [""]),
    ],
)
def test_named_subjects_become_their_vectors(embeddings, prompt, words):
    pieces = parse_prompt(prompt, embeddings)
    assert len(pieces) == len(words)
    for index, (piece, word) in enumerate(zip(pieces, words, strict=True)):
        if index % 2:
            assert torch.equal(piece, load_id_token(embeddings / f"{word}.safetensors").vectors)
        else:
            assert piece == word


def test_a_prompt_means_in_a_clip_what_it_meant_in_training(model, embeddings):
    pieces = parse_prompt("photo of a embedding:ava woman, on a beach", embeddings)
    trained = model.encode_prompt(f"photo of a {PLACEHOLDER} woman, on a beach", pieces[1])
    assert torch.equal(model.encode_pieces(pieces), trained)


@pytest.mark.parametrize(
    ("prompt", "complaint"),
    [
        ("embedding:eve woman", r"no embedding 'eve' in .*; it has: ava, bo-2"),
        ("embedding:../ava woman", "token name '../ava'"),
        ("embedding: ava", "token name ''"),
        ("embedding:ava.pt", "token name 'ava.pt'"),
        ("a (smiling:1.2) embedding:ava", "only ComfyUI"),
        ("(embedding:ava:1.2)", "only ComfyUI"),
    ],
)
def test_prompts_that_cannot_be_resolved_are_refused(embeddings, prompt, complaint):
    with pytest.raises(ValueError, match=complaint):
        parse_prompt(prompt, embeddings)


def test_a_missing_folder_is_named(tmp_path):
    assert parse_prompt("a cat", tmp_path / "absent") == ["a cat"]
    with pytest.raises(ValueError, match="absent to take embedding:ava from"):
        parse_prompt("embedding:ava", tmp_path / "absent")
    with pytest.raises(ValueError, match="none, train one first"):
        parse_prompt("embedding:ava", tmp_path)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a photo of embedding:ava woman, on a beach", "a photo of woman, on a beach"),
        ("(embedding:ava woman:1.2) on a beach", "woman on a beach"),
        ("a photo of (embedding:ava:1.3) woman", "a photo of woman"),
        ("a photo of (embedding:ava) woman ()", "a photo of woman"),
        ("((smiling:1.3) woman:0.8), (red (silk) dress)", "smiling woman , red silk dress"),
        ("(a woman:of note) at 7:30", "a woman:of note at 7:30"),
        ("(red)(hair)embedding:ava.safetensors", "red hair"),
        (r"embedding:ava\(2\), a woman \((old:1.2)\) [red] <x>", ", a woman ( old ) [red] <x>"),
        ("a woman :) (waving", "a woman :) (waving"),
        ("", ""),
    ],
)
def test_only_words_are_left_for_other_text_encoders(prompt, words):
    assert without_tokens(prompt) == words
