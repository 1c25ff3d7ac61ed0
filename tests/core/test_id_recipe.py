"""From photos to what the training loop takes, and which trainings are the same."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from vcd_core.identity import (
    PLACEHOLDER,
    RARE_WORDS,
    Augmentation,
    Photo,
    Recipe,
    TrainingOptions,
    encode_examples,
    fingerprint,
    noun_noise,
    plan_training,
    sample_latents,
)
from vcd_core.sampling import DiscreteSchedule

SCHEDULE = DiscreteSchedule.from_betas()
MASK = torch.zeros(40, 40)
MASK[10:30, 10:30] = 1
PHOTOS = [
    Photo(f"{i}.png", torch.rand(40, 40, 3, generator=torch.Generator().manual_seed(i)), MASK, "on a beach" * (i == 1))
    for i in range(5)
]
RECIPE = Recipe("woman", 16, augmentation=Augmentation(views=3))


class WordsModel:
    """Each word's embedding is its length; the noise follows from the context's mean."""

    def embed_words(self, words):
        return torch.tensor([[float(len(word))] * 6 for word in words.split()])

    def encode_prompt(self, prompt, learned):
        before, subject, after = prompt.partition(PLACEHOLDER)
        parts = [self.embed_words(text) for text in (before, after) if text.split()]
        return torch.cat([torch.zeros(1, 6), *parts, *([learned] if subject else [])])

    def predict_noise(self, noised, timesteps, context):
        return noised * 0.9 + context.mean(dim=(1, 2)).view(-1, 1, 1, 1) * 0.01


def encode(images):
    grey = torch.nn.functional.avg_pool2d(images, 8)
    return torch.cat([grey, grey[:, :1]], dim=1)


def planned(recipe=RECIPE, photos=PHOTOS, base=("SD15",), model=None):
    return plan_training(recipe, photos, model or WordsModel(), base)


def test_every_photo_gives_its_views_with_its_caption():
    examples, held_out = encode_examples(planned(), encode)
    assert examples.latents.shape == (15, 4, 2, 2)
    assert examples.masks.shape == (15, 1, 2, 2)
    assert all(f"photo of a {PLACEHOLDER} woman" in prompt for prompt in examples.prompts)
    assert [prompt.endswith(", on a beach") for prompt in examples.prompts] == [3 <= i < 6 for i in range(15)]
    assert held_out is None
    assert planned().shown().shape == (5, 4, 16, 16)


def test_a_view_s_mask_covers_of_each_latent_what_it_covers_of_its_pixels():
    """Unaugmented, the square subject fills the middle half of the picture."""
    examples, _ = encode_examples(planned(replace(RECIPE, size=32, augmentation=None)), encode)
    expected = torch.tensor([[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0.0]])
    assert_close(examples.masks, expected.expand(10, 1, 4, 4), rtol=0, atol=0.1)


@pytest.mark.parametrize("early_stop", [False, True])
@pytest.mark.parametrize("augmentation", [None, Augmentation(views=4, whole=0)])
def test_more_counts_with_a_mask_margin_in_training_in_the_check_and_in_the_preview(augmentation, early_stop):
    recipe = replace(RECIPE, size=32, augmentation=augmentation, early_stop=early_stop)
    plain, wide = (planned(replace(recipe, mask_margin=margin)) for margin in (0.0, 0.125))
    for few, many in zip(encode_examples(plain, encode), encode_examples(wide, encode), strict=True):
        if few is not None:
            assert torch.equal(few.latents, many.latents)
            assert (few.masks.sum(dim=(1, 2, 3)) < many.masks.sum(dim=(1, 2, 3))).all()
    assert (plain.shown()[:, 3].sum((1, 2)) < wide.shown()[:, 3].sum((1, 2))).all()


@pytest.mark.parametrize("margin", [-0.1, 0.6])
def test_a_mask_margin_out_of_range_is_refused(margin):
    with pytest.raises(ValueError, match="mask_margin must lie in"):
        replace(RECIPE, mask_margin=margin)


def test_vectors_begin_at_the_noun_or_at_the_words_that_are_given():
    near = {"rtol": 0.4, "atol": 0}
    assert_close(planned().initial, torch.full((4, 6), 5.0), **near)
    assert_close(planned(replace(RECIPE, initial_words="cat")).initial, torch.full((4, 6), 3.0), **near)
    assert len(planned(replace(RECIPE, initial_words=RARE_WORDS, token_count=3)).initial) == 3


def test_a_noun_of_several_tokens_is_repeated_or_cut():
    plan = planned(replace(RECIPE, noun="sugar glider", token_count=3))
    assert_close(plan.initial, torch.tensor([[5.0], [6.0], [5.0]]).expand(3, 6), rtol=0.4, atol=0)
    assert "sugar glider" in encode_examples(plan, encode)[0].prompts[0]


def test_early_stop_holds_the_last_photo_out_of_training():
    plan = planned(replace(RECIPE, early_stop=True))
    examples, held_out = encode_examples(plan, encode)
    assert len(examples.prompts) == 12
    assert held_out.latents.shape == (2, 4, 2, 2)
    assert "4.png is held out" in plan.remarks[-1]
    few = planned(replace(RECIPE, early_stop=True), PHOTOS[:3])
    examples, held_out = encode_examples(few, encode)
    assert held_out is None
    assert len(examples.prompts) == 9
    assert "only 3" in few.remarks[-1]


def test_photos_that_show_nothing_are_left_out_and_remarked():
    dark = replace(PHOTOS[2], mask=torch.zeros(40, 40))
    plan = planned(photos=[*PHOTOS[:2], dark, *PHOTOS[3:]])
    assert len(plan.photos) == 4
    assert plan.remarks[0].startswith("left out 2.png: its mask is empty")


def test_a_caption_that_one_opening_makes_too_long_is_refused_before_anything_is_encoded():
    class Short(WordsModel):
        def encode_prompt(self, prompt, learned):
            if len(prompt.split()) > 11:
                raise ValueError(f"the caption {prompt!r} is too long: shorten it")
            return super().encode_prompt(prompt, learned)

    photos = [*PHOTOS[:4], replace(PHOTOS[4], caption="one two three four")]  # 9 words, 12 with "a far away "
    for early_stop in (False, True):  # with it the last photo, this one, is only looked at
        with pytest.raises(ValueError, match=r"^the caption of 4\.png: .*one two three four' is too long"):
            planned(replace(RECIPE, early_stop=early_stop), photos, model=Short())
    planned(replace(RECIPE, augmentation=None), photos, model=Short())
    with pytest.raises(ValueError, match="^the caption 'a far away photo"):  # of no photo: the noun is too long
        planned(replace(RECIPE, noun="one two three four five"), PHOTOS[2:], model=Short())


@pytest.mark.parametrize(("noun", "message"), [("", "is empty"), ("  ", "is empty"), ("woman, blonde", "has a comma")])
def test_a_noun_that_is_none_is_refused(noun, message):
    with pytest.raises(ValueError, match=f"the noun .*{message}"):
        Recipe(noun)


@pytest.mark.parametrize("words", ["embedding:ava", "a <id>"])
def test_words_that_are_none_to_a_framework_are_refused(words):
    """ComfyUI would put the embedding's vectors there, others its letters."""
    message = f"{words!r}, has '.*' in it: training takes ordinary words"
    with pytest.raises(ValueError, match=f"the noun, {message}"):
        Recipe(words)
    with pytest.raises(ValueError, match=f"the initial words, {message}"):
        Recipe("woman", initial_words=words)
    with pytest.raises(ValueError, match=f"the caption of 4.png, {message}"):
        planned(photos=[*PHOTOS[:4], replace(PHOTOS[4], caption=words)])


def test_equal_trainings_have_one_fingerprint_and_others_have_not():
    other = replace(PHOTOS[0], image=PHOTOS[0].image.clone())
    other.image[3, 4, 1] += 0.01
    trainings = [
        planned(),
        planned(base=("other model",)),
        planned(base=(torch.zeros(3),)),
        planned(photos=PHOTOS[:4]),
        planned(photos=PHOTOS[::-1]),
        planned(photos=[other, *PHOTOS[1:]]),
        planned(photos=[replace(PHOTOS[0], mask=None), *PHOTOS[1:]]),
        planned(photos=[replace(PHOTOS[0], caption="in the snow"), *PHOTOS[1:]]),
        *(
            planned(replace(RECIPE, **{name: value}))
            for name, value in {
                "noun": "man",
                "size": 24,
                "token_count": 2,
                "initial_words": "cat",
                "augmentation": None,
                "early_stop": True,
                "mask_margin": 0.1,
            }.items()
        ),
        *(
            planned(replace(RECIPE, options=replace(RECIPE.options, **{name: value})))
            for name, value in {
                "steps": 7,
                "batch_size": 2,
                "learning_rate": 1e-2,
                "weight_decay": 0.0,
                "noise_offset": 0.0,
                "seed": 3,
                "patience": 2,
                "check_every": 5,
                "decay": 0.5,
            }.items()
        ),
    ]
    assert len({training.settings for training in trainings}) == len(trainings)
    assert planned().settings == trainings[0].settings


def test_a_fingerprint_sees_how_things_are_grouped():
    assert fingerprint("ab", "c") != fingerprint("a", "bc")
    assert fingerprint(["a"], "b") != fingerprint("a", ["b"])
    assert fingerprint(1) != fingerprint(1.0)
    assert fingerprint(torch.zeros(2, 3)) != fingerprint(torch.zeros(3, 2))
    assert fingerprint(torch.zeros(2)) != fingerprint(torch.zeros(2, dtype=torch.int32))
    assert fingerprint(TrainingOptions()) == fingerprint(TrainingOptions())


def test_a_sample_follows_the_words_from_the_same_noise():
    model, vectors = WordsModel(), torch.full((2, 6), 4.0)
    found = sample_latents(model, SCHEDULE, "woman", vectors, 32, seed=3, steps=4, cfg=2.0)
    assert found.shape == (1, 4, 4, 4)
    assert torch.equal(found, sample_latents(model, SCHEDULE, "woman", vectors, 32, seed=3, steps=4, cfg=2.0))
    other = sample_latents(model, SCHEDULE, "woman", vectors * 2, 32, seed=3, steps=4, cfg=2.0)
    # Guidance doubles what the words say, minus what silence says, in every step; both are constants here.
    shift = other - found
    assert_close(shift, shift.mean().expand_as(shift), rtol=1e-3, atol=1e-4)
    assert shift.mean().abs() > 1e-3


def test_what_the_noun_means_is_read_without_the_token():
    latents = torch.randn(3, 4, 4, 4)
    woman = noun_noise(WordsModel(), SCHEDULE, "woman", latents)
    assert woman.shape == latents.shape
    assert torch.equal(woman, noun_noise(WordsModel(), SCHEDULE, "woman", latents))
    assert not torch.equal(woman, noun_noise(WordsModel(), SCHEDULE, "robots", latents))
