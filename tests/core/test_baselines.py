"""Ways to teach a model a subject: what they train, that nothing else changes, and that they come back from files."""

import json
import sys
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load, save
from torch import nn
from torch.testing import assert_close

from benchmarks import identity
from benchmarks.baselines import METHODS, Lesson, class_latents, fitting, neti, svdiff, without_mask
from benchmarks.baselines.changes import weights_changed
from benchmarks.baselines.sizes import bytes_of, parameters_of, sizes
from vcd_core.identity import PLACEHOLDER, Photo, Recipe, TrainingOptions
from vcd_core.standalone.config import SD15

pytestmark = pytest.mark.usefixtures("one_thread")
every_method = pytest.mark.parametrize("name", METHODS)
SIZE = 64
RECIPE = Recipe("woman", SIZE, augmentation=None, options=TrainingOptions(steps=2, batch_size=2, context_weight=1.0))


def photos():
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(SIZE, SIZE)
    mask[16:48, 16:48] = 1
    return [Photo(f"{number}.png", torch.rand(SIZE, SIZE, 3, generator=generator), mask) for number in range(2)]


@dataclass(frozen=True)
class Everything:
    """All of a model's numbers, which of them want gradients, and its modules with how many hooks each has."""

    weights: dict
    frozen: dict
    modules: dict

    def __eq__(self, other):
        same = self.weights.keys() == other.weights.keys()
        same = same and all(torch.equal(value, other.weights[name]) for name, value in self.weights.items())
        return same and self.frozen == other.frozen and self.modules == other.modules


def everything(model):
    parts = {"unet": model.unet, "vae": model.vae, "text": model.text_encoder}
    named = [(f"{kind}.{name}", weight) for kind, part in parts.items() for name, weight in part.named_parameters()]
    modules = [(f"{kind}.{name}", module) for kind, part in parts.items() for name, module in part.named_modules()]
    return Everything(
        {name: weight.detach().clone() for name, weight in named},
        {name: (weight.requires_grad, weight.grad is None) for name, weight in named},
        {name: (type(one), len(one._forward_hooks), len(one._forward_pre_hooks)) for name, one in modules},
    )


@pytest.fixture(scope="module")
def lesson(model):
    latents = class_latents(model, "woman", SIZE, 2, steps=1)
    return Lesson(photos(), RECIPE, lambda: latents)


@pytest.fixture(scope="module")
def taught(model, lesson):
    """By method: what was learned, and the model before and after."""
    known = {}

    def learned(name):
        if name not in known:
            before = everything(model)
            tensors = METHODS[name]().learn(model, lesson)
            known[name] = tensors, before, everything(model)
        return known[name]

    return learned


def predicted(model, subject):
    """What the model makes of noise, as clips are drawn: by its denoiser."""
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        context = model.encode_pieces(["a photo of ", *subject, " on a beach"])
        return model.denoiser(context)(noise, torch.tensor(1.0))


@every_method
def test_only_what_is_learned_changes(name, taught):
    learned, before, after = taught(name)
    assert before == after
    assert all(value.isfinite().all() for value in learned.values())


@every_method
def test_every_tensor_that_is_named_as_trained_is_trained(name, model, taught):
    """A change, which starts at nothing, is something; what starts elsewhere has moved. Weights of keys stay where a
    step gives them no gradient, so the last ones count as well as the first."""
    learned, _, _ = taught(name)
    start = METHODS[name]().start(model.unet, model.embed_words("woman"), RECIPE)
    kept_as_change = name in ("dreambooth", "custom diffusion")
    still = [
        key
        for key, value in learned.items()
        if torch.equal(value, torch.zeros_like(value) if kept_as_change and key != "token" else start[key])
    ]
    assert still == []


@every_method
def test_what_is_learned_is_applied_and_taken_back_to_the_bit(name, model, taught):
    learned, before, _ = taught(name)
    plain = predicted(model, ["a woman"])
    with METHODS[name]().applied(model, learned, "woman") as (knowing, words):
        assert words[0].startswith("a ")
        assert torch.equal(predicted(knowing, words), plain) == (name in ("noun", "caption"))
    assert everything(model) == before
    with pytest.raises(RuntimeError, match="in the middle"), METHODS[name]().applied(model, learned, "woman"):  # noqa: PT012
        raise RuntimeError("in the middle")
    assert everything(model) == before


@every_method
def test_a_file_gives_back_the_same_predictions(name, model, taught):
    learned, _, _ = taught(name)
    found = []
    for tensors in (learned, load(save(learned))):
        with METHODS[name]().applied(model, tensors, "woman") as (knowing, words):
            found.append(predicted(knowing, words))
    assert torch.equal(*found)


@every_method
def test_learning_again_gives_the_same(name, model, lesson, taught):
    again = METHODS[name]().learn(model, lesson)
    assert all(torch.equal(value, again[key]) for key, value in taught(name)[0].items())


def test_the_identifier_is_a_word_where_the_encoder_tells_words_apart(model):
    prompts = [f"photo of a {PLACEHOLDER} woman", "photo of a woman"]
    contexts = fitting.identifier_contexts(model)(prompts)
    assert torch.equal(contexts[0], model.encode_pieces(["photo of a sks woman"]))
    assert torch.equal(contexts[1], model.encode_pieces(["photo of a woman"]))
    called = fitting.called_by_identifier(model, "woman")
    assert torch.equal(model.encode_pieces(called), model.encode_pieces(["a sks woman"]))


def test_an_identifier_that_is_like_any_other_word_gets_an_embedding_of_its_own(model):
    model = replace(model, text_encoder=deepcopy(model.text_encoder))
    words = model.text_encoder.get_input_embeddings().weight
    noun = model.embed_words("woman")
    with torch.no_grad():  # as an encoder that was taught but one word
        words[:] = 0.01
        words[model.tokenizer.encode("woman", add_special_tokens=False)] = noun
    own = fitting.identifier_of(model)
    assert torch.equal(own, fitting.identifier_of(model))
    assert own.norm().item() == pytest.approx(noun.norm().item(), rel=1e-5)
    contexts = fitting.identifier_contexts(model)([f"photo of a {PLACEHOLDER} woman"])
    called = model.encode_pieces(["photo of ", *fitting.called_by_identifier(model, "woman")])
    assert torch.equal(contexts[0], called)
    assert not torch.allclose(called, model.encode_pieces(["photo of a sks woman"]))


def attentions(unet):
    """(width, width of what it attends to) of every attention: twice a block, to itself and to the words."""
    found = []
    for name, module in unet.named_modules():
        if name.endswith(("attn1", "attn2")):
            own = module.to_q.in_features
            found.append((own, own if name.endswith("attn1") else unet.config.cross_attention_dim))
    return found


def test_what_is_trained_is_as_much_as_the_papers_say(model):
    unet, width = model.unet, 32
    layers = [one for one in unet.modules() if isinstance(one, (nn.Conv2d, nn.Linear))]
    rows = [one.out_channels if isinstance(one, nn.Conv2d) else one.out_features for one in layers]
    anchors = 10 * len(attentions(unet)[1::2])
    expected = {
        "noun": 0,
        "caption": 0,
        "vcd": 4 * width,
        "textual inversion": width,
        "lora": sum(4 * (6 * own + 2 * words) for own, words in attentions(unet)),
        "custom diffusion": width + sum(2 * own * width for own, words in attentions(unet)[1::2]),
        "dreambooth": sum(value.numel() for value in unet.state_dict().values()),
        "svdiff": sum(min(n, one.weight.numel() // n) for n, one in zip(rows, layers, strict=True)),
        "neti": 2049 * anchors + (anchors + 1) * 128 + 2 * 128 + 129 * 128 + 2 * 128 + 129 * 2 * width,
    }
    noun = model.embed_words("woman")
    assert {name: parameters_of(method().start(unet, noun, RECIPE)) for name, method in METHODS.items()} == expected


def test_sizes_on_stable_diffusion_are_those_that_are_published():
    """12 KB of ours; LoRA's 3.1 MB, Custom Diffusion's 75 MB of keys and values, the UNet's 860 M numbers, and of NeTI
    the layers 2048-160-128-128-1536 of its authors' code."""
    found = {name: (count, size) for name, count, size in sizes()}
    assert found["vcd"] == (4 * SD15.text_width, 12288)
    assert found["textual inversion"] == (SD15.text_width, 3072)
    assert found["dreambooth"][0] == 859_520_964
    assert found["custom diffusion"][0] == 19_169_280 + SD15.text_width
    assert found["lora"][0] == 797_184
    assert 0.8e6 < found["svdiff"][1] < 1.7e6
    assert found["neti"][0] == sum((a + 1) * b for a, b in pairwise([2048, 160, 128, 128, 1536])) + 2 * 2 * 128


def test_sizes_as_json_are_one_object_of_the_same_numbers(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["identity", "--sizes", "--json"])
    assert identity.main() == 0
    told = json.loads(capsys.readouterr().out)["methods"]
    assert [(one["method"], one["parameters"], one["bytes"]) for one in told] == sizes()


def test_bytes_are_those_of_the_numbers():
    assert bytes_of({"a": torch.zeros(3), "b": torch.zeros(2, 2, dtype=torch.float16)}) == 20


@pytest.mark.parametrize("shape", [(6, 3, 3, 3), (5, 8), (3, 4, 1, 1)])
def test_shifted_singular_values_make_the_weight_that_the_formula_says(shape):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(2)).double()
    factors = torch.linalg.svd(weight.flatten(1), full_matrices=False)
    shift = torch.linspace(-9, 1, len(factors[1])).double()
    u, s, vh = factors
    expected = sum(max(s[i] + shift[i], 0) * torch.outer(u[:, i], vh[i]) for i in range(len(s)))
    assert_close(weight.flatten(1) + svdiff.change(factors, shift), expected)


def test_no_shift_is_the_unet_itself(model):
    shifts = svdiff.SVDiff().start(model.unet, torch.ones(1, 32), RECIPE)
    assert all((change == 0).all() for change in svdiff.changes(model.unet, shifts).values())


def test_neti_gives_vectors_as_long_as_the_noun_s_that_differ_by_level_and_layer():
    noun = torch.randn(32, generator=torch.Generator().manual_seed(3))
    mapper = neti.Mapper(noun, 3, 16)
    rows = torch.cat([torch.cat(mapper(torch.tensor(t)), 1) for t in (10.0, 900.0)])
    assert_close(rows.norm(dim=1), noun.norm().expand(6))
    assert (torch.cdist(rows, rows) + torch.eye(6) > 1e-3).all()


def test_neti_begins_with_the_codes_of_every_hundredth_timestep_at_each_layer():
    """Codes are of length 1, so each anchor's own is what its row answers most."""
    mapper = neti.Mapper(torch.ones(32), 3, 16)
    anchors = torch.tensor([[100.0 * step, layer] for step in range(10) for layer in range(3)])
    codes = mapper.encoded(anchors)
    assert_close(codes.norm(dim=1), torch.ones(30))
    answers = codes @ mapper.hidden[0].weight.T
    assert torch.equal(answers.argmax(1), torch.arange(30))
    assert_close(answers.diagonal(), torch.ones(30))


def test_nested_dropout_leaves_the_first_hidden_numbers_half_of_the_time():
    mapper = neti.Mapper(torch.randn(32, generator=torch.Generator().manual_seed(3)), 4000, 16)
    kept = mapper.some_kept(torch.Generator().manual_seed(0))
    assert (kept == 16).float().mean() == pytest.approx(0.5, abs=0.03)
    assert torch.equal(kept[kept < 16].unique(), torch.arange(16))
    whole, none, half = (mapper(torch.tensor(10.0), torch.full((4000,), count))[0] for count in (16, 0, 8))
    assert torch.equal(whole, mapper(torch.tensor(10.0))[0])
    assert_close(none, none[:1].expand(4000, -1))
    with torch.no_grad():
        mapper.out.weight[:, 8:] = 0
    assert_close(half, mapper(torch.tensor(10.0))[0])


def test_each_cross_attention_gets_the_prompt_of_its_own_place(model):
    layers = neti.cross_attentions(model.unet)
    contexts = torch.randn(1, len(layers), 2, 77, 32, generator=torch.Generator().manual_seed(4))
    layered = neti.LayeredModel(**vars(model), mapper=None, weights={})
    given = {"to_k": [], "to_v": []}

    def note(layer, name):
        return getattr(layer, name).register_forward_hook(lambda _layer, inputs, _: given[name].append(inputs[0]))

    hooks = [note(layer, name) for layer in layers for name in given]
    layered.predict_by_layer(torch.zeros(1, 4, 8, 8), torch.tensor([500.0]), contexts)
    for hook in hooks:
        hook.remove()
    for name, both in zip(given, contexts[0].unbind(1), strict=True):
        assert torch.equal(torch.cat(given[name]), both)  # in the order in which they are run


def test_what_goes_past_the_text_encoder_moves_the_subject_s_values_by_a_fifth(model):
    noun = model.embed_words("woman")[0]
    mapper = neti.Mapper(noun, len(neti.cross_attentions(model.unet)), 16)
    layered = neti.LayeredModel(**vars(model), mapper=mapper, weights=dict(mapper.named_parameters()))
    contexts = layered.contexts(["a photo of ", "a ", noun[None], "woman"], torch.tensor(10.0))
    place = 1 + len(["a", "photo", "of", "a"])
    keys, values = contexts.unbind(1)
    others = [row for row in range(77) if row != place]
    assert_close(keys[:, others], values[:, others])
    vectors, bypasses = mapper(torch.tensor(10.0))
    assert torch.equal(keys[2], model.encode_pieces(["a photo of a ", vectors[2][None], "woman"]))

    own = model.text_encoder.text_model.final_layer_norm  # undone, as far as can be: it loses mean and size
    raw = [(row[2, place] - own.bias) / own.weight for row in (keys, values)]
    before, after = ((row - row.mean()) / row.std(correction=0) for row in raw)
    along = (bypasses[2] - bypasses[2].mean()) / bypasses[2].std(correction=0)
    moved = after - before * (after @ before) / 32
    assert torch.cosine_similarity(moved, along - before * (along @ before) / 32, dim=0) > 0.999
    assert 0.1 < (1 - (after @ before / 32) ** 2).sqrt() < 0.25


def test_prior_preservation_learns_from_pictures_of_the_class_and_only_then(model, lesson):
    """Other class pictures lead elsewhere with it, and are not even asked for without it."""
    dreambooth = METHODS["dreambooth"]
    short = replace(lesson, recipe=replace(RECIPE, options=TrainingOptions(steps=1, batch_size=1)))
    others = replace(short, class_latents=lambda: torch.ones(2, 4, 8, 8))
    one, other = (dreambooth().learn(model, some) for some in (short, others))
    assert not torch.equal(one["conv_out.weight"], other["conv_out.weight"])

    def refuse():
        raise AssertionError("pictures of the class were asked for")

    dreambooth(prior_weight=0.0).learn(model, replace(short, class_latents=refuse))


def test_methods_without_masks_see_the_square_that_ours_sees(model, lesson):
    """Of a wide photo whose subject stands at its right end, where its middle would show none of it."""
    mask = torch.zeros(SIZE, 2 * SIZE)
    mask[8:56, 80:] = 1
    wide = Photo("wide.png", torch.rand(SIZE, 2 * SIZE, 3, generator=torch.Generator().manual_seed(1)), mask)
    square = Photo("square.png", wide.image[:, SIZE:])
    bare = without_mask(wide)
    assert bare.mask is None
    assert torch.equal(bare.image, square.image)
    seen, expected = (fitting.whole_examples(model, replace(lesson, photos=[photo])) for photo in (wide, square))
    assert_close(seen.latents, expected.latents)


def test_every_picture_comes_once_before_any_comes_again():
    rows = fitting.shuffled(5, torch.Generator().manual_seed(0))
    first, second = ([next(rows) for _ in range(5)] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(5))
    assert first != second


@pytest.mark.parametrize("name", ["dreambooth", "textual inversion"])
def test_a_training_that_diverges_says_what_to_do(name, model, lesson):
    steps = replace(lesson, recipe=replace(RECIPE, options=TrainingOptions(steps=4, batch_size=1)))
    before = everything(model)
    with pytest.raises(ValueError, match=r"(?i)lower the (learning )?rate"):
        METHODS[name](rate=float("inf")).learn(model, steps)
    assert everything(model) == before


@pytest.mark.parametrize("change", [{"no.such.weight": torch.zeros(1)}, {"conv_in.bias": torch.zeros(1)}])
def test_what_was_learned_with_another_model_is_refused(change, model):
    with pytest.raises(ValueError, match="does not fit this UNet"), weights_changed(model.unet, change):
        pass
