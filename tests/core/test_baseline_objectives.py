"""What the trainings of other methods ask for: losses, words and pictures of the class, and how far a step goes."""

import csv
from collections import defaultdict
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from benchmarks.baselines import METHODS, Lesson, class_latents, fitting
from benchmarks.baselines.fitting import Fit, denoising_loss, fit
from vcd_core.identity import PLACEHOLDER, Photo, Recipe, TrainingOptions

pytestmark = pytest.mark.usefixtures("one_thread")
SIZE = 64
RATED = [name for name, method in METHODS.items() if hasattr(method, "rate")]
ONE_STEP = TrainingOptions(steps=1, batch_size=2)


def lesson(top=16, noun="woman", **options):
    """Photos whose masks begin at a row; of a square nothing is cut off, wherever its subject is."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(SIZE, SIZE)
    mask[top : top + 32, 16:48] = 1
    photos = [Photo(f"{number}.png", torch.rand(SIZE, SIZE, 3, generator=generator), mask) for number in range(2)]
    recipe = Recipe(noun, SIZE, augmentation=None, options=replace(ONE_STEP, **options))
    return Lesson(photos, recipe, lambda: torch.zeros(2, 4, 8, 8))


class Constants:
    """Takes the noise of all pictures of the subject for one number and that of the class for another."""

    def __init__(self, value):
        self.trained = {kind: torch.tensor(value, requires_grad=True) for kind in ("subject", "class")}
        self.prompts = []

    def __call__(self, noised, timesteps, prompts):
        self.prompts += prompts
        (kind,) = {"subject" if PLACEHOLDER in prompt else "class" for prompt in prompts}
        return self.trained[kind].expand_as(noised)


def test_noise_is_added_as_diffusers_adds_it(model, rng):
    from diffusers import DDPMScheduler

    latents = 3 + torch.rand(8, 4, 8, 8, generator=rng)
    asked = []

    def predict(noised, timesteps, prompts):
        asked.append((noised, timesteps, torch.zeros_like(noised, requires_grad=True)))
        return asked[-1][-1]

    denoising_loss(model, latents, ["woman"] * 8, predict, rng).backward()
    ((noised, timesteps, nothing),) = asked
    noise = -nothing.grad * nothing.numel() / 2  # the slope of mean (0 − ε)² is −2 ε / N
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    assert_close(noised, scheduler.add_noise(latents, noise, timesteps), rtol=1e-3, atol=1e-3)  # of float32's ᾱ


@pytest.mark.parametrize(("settings", "weight"), [({}, 1.0), ({"prior_weight": 0.25}, 0.25)])
@pytest.mark.parametrize("name", ["custom diffusion", "dreambooth", "svdiff"])
def test_pictures_of_the_class_count_as_much_as_is_asked(name, settings, weight, model, monkeypatch):
    """The slope of the whole loss in one of its parts."""
    counted = {}

    def noting(model, latents, prompts, *others):
        loss = denoising_loss(model, latents, prompts, *others)
        loss.register_hook(lambda slope: counted.update({prompts[0]: slope.item()}))
        return loss

    monkeypatch.setattr(fitting, "denoising_loss", noting)
    METHODS[name](**settings).learn(model, lesson())
    assert counted == {f"photo of a {PLACEHOLDER} woman": 1, "photo of a woman": weight}


def test_the_class_is_what_is_said_of_the_subject_without_the_subject(model):
    predict = Constants(0.0)
    fit(model, lesson(noun="old man"), predict.trained, predict, Fit(rate=0.1, prior_weight=1.0))
    assert predict.prompts == [f"photo of a {PLACEHOLDER} old man"] * 2 + ["photo of a old man"] * 2


def test_pictures_of_the_class_are_drawn_of_these_words(model):
    """By one of Euler's steps, from noise alone to nothing."""
    sigma = model.schedule.sigmas[-1]
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))

    @torch.no_grad()
    def predicted(words):
        ids = model.tokenizer(words, padding="max_length", return_tensors="pt").input_ids
        context = model.text_encoder(ids).last_hidden_state.expand(2, -1, -1)
        return model.unet(noise, torch.tensor(999), encoder_hidden_states=context).sample

    wanted, unwanted = predicted("photo of a old man"), predicted("")
    expected = (1 + sigma**2).sqrt() * noise - sigma * (unwanted + 7.5 * (wanted - unwanted))
    found = class_latents(model, "old man", SIZE, 2, steps=1)
    assert_close(found, expected, rtol=0, atol=1e-3)  # a hundred times, by σ and 7.5, what float32 loses


@pytest.mark.parametrize(("rate", "decay"), [(0.1, 0.0), (0.1, 0.01), (0.002, 0.5)])
def test_the_first_step_is_adamw_s(rate, decay, model):
    """v − γ λ v − γ, however steep the loss is; what the loss does not ask about stays."""
    predict = Constants(2.0)
    learned = fit(model, lesson(), predict.trained, predict, Fit(rate, weight_decay=decay))
    assert learned["subject"].item() == pytest.approx(2 - rate * decay * 2 - rate, abs=1e-6)
    assert learned["class"].item() == 2


@pytest.mark.parametrize("name", RATED)
def test_the_first_step_is_as_long_as_the_method_s_rate(name, model):
    """And a hundredth of it longer where AdamW takes that from a weight of 1."""
    learned = METHODS[name](rate=2e-3).learn(model, lesson())
    start = METHODS[name]().start(model.unet, model.embed_words("woman"), lesson().recipe)
    is_change = {key: name in ("custom diffusion", "dreambooth") and key != "token" for key in learned}
    steps = [(value if is_change[key] else value - start[key]).abs().max().item() for key, value in learned.items()]
    assert max(steps) == pytest.approx(2e-3, rel=0.02)


def test_rates_are_the_best_of_those_that_were_tried():
    """By likeness times the share of frames in the right place, as docs/evaluation.md says; a thousandth is chance."""
    tried = defaultdict(list)
    with (Path(__file__).parents[2] / "docs/evaluation/rates.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            setting, _, rate = row["ablation"].partition(" ")
            if setting == "rate" and "," not in rate:
                tried[row["method"], float(rate)].append([float(row["similarity"]), float(row["place right"])])
    found = {key: torch.tensor(rows).double().mean(0).prod().item() for key, rows in tried.items()}
    for name in RATED:
        best = max(score for (method, _), score in found.items() if method == name)
        assert found[name, METHODS[name]().rate] > best - 1e-3, name


def test_textual_inversion_steps_alike_in_every_number_whatever_norm_that_makes(model):
    """Fifty times the first norm: with any pull towards that, or towards nothing, no step would be 1."""
    method = METHODS["textual inversion"](rate=1.0)
    ours = lesson(hold_norm=True, weight_decay=100.0)
    (vector,) = method.learn(model, ours).values()
    (start,) = method.start(model.unet, model.embed_words("woman"), ours.recipe).values()
    assert_close((vector - start).abs(), torch.ones(1, 32), rtol=1e-3, atol=0)


@pytest.mark.parametrize(("name", "same"), [("textual inversion", True), ("vcd", False)])
def test_masks_change_what_ours_learns_and_not_what_textual_inversion_does(name, same, model):
    one, other = (METHODS[name]().learn(model, lesson(top, steps=2)) for top in (8, 24))
    assert torch.equal(one["clip_l"], other["clip_l"]) == same


def test_textual_inversion_has_nothing_of_what_our_recipe_adds(model):
    ours = {"hold_norm": True, "weight_decay": 100.0, "context_weight": 1.0, "noise_offset": 0.5, "decay": 1.0}
    one, other = (METHODS["textual inversion"]().learn(model, lesson(steps=2, **options)) for options in ({}, ours))
    assert torch.equal(one["clip_l"], other["clip_l"])


@pytest.mark.parametrize("rank", [1, 4])
def test_lora_adds_the_product_of_its_factors_as_it_is(rank, model, rng):
    method = METHODS["lora"](rank=rank)
    start = method.start(model.unet, torch.zeros(1, 32), lesson().recipe)
    learned = {name: torch.randn(value.shape, generator=rng) / 10 for name, value in start.items()}
    merged = deepcopy(model.unet)
    for name in start:
        if name.endswith(".lora_A.weight"):
            layer = name.removesuffix(".lora_A.weight")
            merged.get_submodule(layer).weight += learned[f"{layer}.lora_B.weight"] @ learned[name]
    given = (torch.randn(1, 4, 8, 8, generator=rng), torch.tensor(500), torch.randn(1, 77, 32, generator=rng))
    with torch.no_grad(), method.applied(model, learned, "woman") as (knowing, _):
        assert_close(knowing.unet(*given).sample, merged(*given).sample)
