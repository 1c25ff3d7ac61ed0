"""What a step of a training asks: its losses and noise, and that it fits into memory and half precision."""

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from linear_model import SCHEDULE, WIDTH, LinearModel, Remembering, examples, train
from torch.testing import assert_close

from vcd_core.identity import PLACEHOLDER, TrainingOptions, context_loss, masked_loss, train_id_token


def test_masked_loss_is_the_formula_written_out():
    prediction, target = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    mask = (torch.rand(3, 1, 5, 6, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    total = 0.0
    for b in range(3):
        error = sum(
            mask[b, 0, y, x].item() * (prediction[b, c, y, x] - target[b, c, y, x]).item() ** 2
            for c in range(4)
            for y in range(5)
            for x in range(6)
        )
        total += error / mask[b].sum().item()
    assert masked_loss(prediction, target, mask).item() == pytest.approx(total / 3, rel=1e-5)


def test_masked_loss_ignores_what_is_outside_the_mask():
    prediction, target = torch.randn(2, 2, 4, 8, 8)
    mask = torch.zeros(2, 1, 8, 8)
    mask[..., :3] = 1
    changed = prediction.clone()
    changed[..., 3:] += 100
    assert torch.equal(masked_loss(prediction, target, mask), masked_loss(changed, target, mask))


def test_an_empty_mask_is_refused_not_turned_into_nan():
    with pytest.raises(ValueError, match="a mask is empty"):
        masked_loss(torch.zeros(2, 4, 8, 8), torch.zeros(2, 4, 8, 8), torch.zeros(2, 1, 8, 8))


def test_noise_is_white_but_for_its_offset():
    model = Remembering()
    list(train(model, TrainingOptions(steps=40, batch_size=8, noise_offset=0.5), 1))
    noised, timesteps = (torch.cat(parts) for parts in zip(*model.asked, strict=True))
    alpha = 1 / (1 + SCHEDULE.sigmas[timesteps].view(-1, 1, 1, 1) ** 2)
    noise = ((noised - alpha.sqrt() * examples(1).latents) / (1 - alpha).sqrt())[timesteps > 200]
    assert noise.var(dim=(2, 3)).mean().item() == pytest.approx(1, abs=0.03)
    # The mean over 64 pixels has the offset's variance 0.25, and 1/64 of white noise's.
    assert noise.mean(dim=(2, 3)).var().item() == pytest.approx(0.25 + 1 / 64, rel=0.2)


def test_noise_levels_are_spread_evenly_over_every_batch():
    model = Remembering()
    list(train(model, TrainingOptions(steps=20, batch_size=4)))
    for _, timesteps in model.asked:
        assert sorted(timestep // 250 for timestep in timesteps.tolist()) == [0, 1, 2, 3]
    levels = torch.cat([timesteps for _, timesteps in model.asked])
    assert len(levels.unique()) > 70


# ---------------------------------------------------------------- surroundings


def test_the_context_loss_is_what_changes_outside_the_mask():
    """Against a loop over samples."""
    generator = torch.Generator().manual_seed(0)
    one, two = (torch.randn(3, 4, 6, 6, generator=generator) for _ in range(2))
    mask = torch.rand(3, 1, 6, 6, generator=generator)
    mask[2] = 1  # all subject
    expected = 0.0
    for sample in range(2):
        outside = 1 - mask[sample, 0]
        expected += sum((outside * (one[sample, c] - two[sample, c]) ** 2).sum() for c in range(4)) / outside.sum()
    assert_close(context_loss(one, two, mask), expected / 3)


class TwoHalves(LinearModel):
    """The vectors' first number shifts the left half of a picture, their second the right; without a token nothing."""

    def encode_prompt(self, prompt, learned):
        self.prompts.append(prompt)
        return learned if PLACEHOLDER in prompt else torch.zeros_like(learned)

    def predict_noise(self, noised, timesteps, context):
        shift = context.mean(dim=1)[:, :2].repeat_interleave(4, dim=1)
        return 0 * noised + shift[:, None, None, :]


@pytest.mark.parametrize(("weight", "outside"), [(0.0, 2.0), (1.0, 0.0)])
def test_a_token_learns_to_leave_its_surroundings_alone(weight, outside):
    """Inside the mask both ways learn the same; outside, the masked loss alone leaves whatever was there."""
    mask = torch.zeros(3, 1, 8, 8)
    mask[..., :4] = 1
    options = TrainingOptions(
        steps=400, learning_rate=0.02, weight_decay=0, context_weight=weight, noise_offset=0, batch_size=8
    )
    *_, state = train(TwoHalves(), options, masks=mask)
    left, right = state.vectors.mean(dim=0)[:2].tolist()
    assert left == pytest.approx(0, abs=0.1)  # noise has no mean
    assert right == pytest.approx(outside, abs=0.1)


def test_surroundings_are_named_while_a_token_learns_to_leave_them_alone():
    model = TwoHalves()
    plain = replace(
        examples(4), prompts=[f"photo of a {PLACEHOLDER} woman"] * 3 + [f"photo of a {PLACEHOLDER} woman, in Rome"]
    )
    options = TrainingOptions(steps=40, context_weight=1.0, contexts=("on a beach", "in the snow"))
    list(train_id_token(model, SCHEDULE, plain, torch.full((4, WIDTH), 2.0), options))
    start = f"photo of a {PLACEHOLDER} woman"
    named = {start, f"{start} on a beach", f"{start} in the snow", f"{start}, in Rome"}
    of_the_class = {prompt.replace(f"{PLACEHOLDER} ", "") for prompt in named}
    assert set(model.prompts) == named | of_the_class
    # Nothing that is learned is in these, so they are encoded once.
    assert all(Counter(model.prompts)[prompt] == 1 for prompt in of_the_class)


def test_a_prompt_without_a_noun_has_no_token_in_what_is_encoded_once():
    """What the vectors change would be out of date after a step."""
    model = TwoHalves()
    bare = replace(examples(2), prompts=[f"photo of {PLACEHOLDER}, in Rome", f"photo of {PLACEHOLDER}"])
    options = TrainingOptions(steps=4, context_weight=1.0, contexts=())
    list(train_id_token(model, SCHEDULE, bare, torch.full((4, WIDTH), 2.0), options))
    said = Counter(model.prompts)
    assert all((said[prompt] == 1) == (PLACEHOLDER not in prompt) for prompt in said)
    assert said.keys() - set(bare.prompts) == {"photo of , in Rome", "photo of "}


# ---------------------------------------------------------------- memory and half precision


def test_a_batch_too_large_for_memory_is_split_with_the_same_gradient():
    class Small(LinearModel):
        def predict_noise(self, noised, timesteps, context):
            if len(noised) > 2:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return super().predict_noise(noised, timesteps, context)

    masks = (torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)) > 0.6).float()
    options = TrainingOptions(steps=5, batch_size=6, learning_rate=0.05)
    *_, split = train(Small(), options, 6, masks=masks)
    *_, whole = train(LinearModel(), options, 6, masks=masks)
    assert (split.parts, whole.parts) == (4, 1)
    assert_close(split.vectors, whole.vectors, rtol=1e-5, atol=1e-6)
    assert split.losses == pytest.approx(whole.losses, rel=1e-5)


def test_one_picture_too_large_for_memory_is_an_error_that_says_what_to_do():
    class Tiny(LinearModel):
        def predict_noise(self, noised, timesteps, context):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(ValueError, match="one picture of 64x64 does not fit into memory: lower the resolution"):
        list(train(Tiny(), TrainingOptions(steps=1)))


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    class Broken(LinearModel):
        calls = 0

        def predict_noise(self, noised, timesteps, context):
            self.calls += 1
            raise RuntimeError("shapes do not fit")

    model = Broken()
    with pytest.raises(RuntimeError, match="shapes"):
        list(train(model, TrainingOptions(steps=1)))
    assert model.calls == 1


def test_half_precision_gradients_are_not_lost():
    """A model that computes in float16, with gradients near the end of its range, leads where the float32 one does."""

    class Half(LinearModel):
        def predict_noise(self, noised, timesteps, context):
            shift = (context.mean(dim=1).half() @ self.weight.detach().half())[:, :, None, None]
            return (noised.half() + shift * 2**-23).float()

    class Full(LinearModel):
        def predict_noise(self, noised, timesteps, context):
            return noised + (context.mean(dim=1) @ self.weight.detach())[:, :, None, None] * 2**-23

    options = TrainingOptions(steps=4, learning_rate=0.1)
    (*_, half), (*_, full) = train(Half(), options), train(Full(), options)
    assert_close(half.vectors, full.vectors, rtol=0, atol=0.03)


def test_gradients_too_large_for_half_precision_are_scaled_down():
    """A backward pass that overflows above a limit: steps are left out until the scale fits, then training goes on."""

    class Overflowing(LinearModel):
        def predict_noise(self, noised, timesteps, context):
            context.register_hook(lambda gradient: gradient if gradient.abs().max() < 2 else gradient * math.inf)
            return super().predict_noise(noised, timesteps, context)

    steps = list(train(Overflowing(), TrainingOptions(steps=30, learning_rate=2e-2)))
    assert torch.equal(steps[0].vectors, torch.full((4, WIDTH), 2.0))
    assert not torch.equal(steps[-1].vectors, steps[0].vectors)
    assert all(torch.isfinite(step.vectors).all() for step in steps)
