"""The training loop: what vectors begin as, how a step changes them, which pictures it takes."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from linear_model import SCHEDULE, WIDTH, LinearModel, Remembering, examples, train
from torch.testing import assert_close

from vcd_core.identity import PLACEHOLDER, TrainingOptions, initial_vectors

TIMES_ENCODED = 2  # a prompt in a step: for the loss, and for the gradient


def test_tokens_start_at_the_noun_but_apart():
    noun = torch.randn(2, 768)
    start = initial_vectors(noun, 5, torch.Generator().manual_seed(0))
    assert start.shape == (5, 768)
    relative = (start - noun[[0, 1, 0, 1, 0]]).norm() / start.norm()
    assert 0.05 < relative < 0.2
    assert (torch.pdist(start) > 0).all()
    assert_close(start, initial_vectors(noun, 5, torch.Generator().manual_seed(0)))


def test_training_lowers_the_masked_loss():
    steps = list(train(LinearModel(), TrainingOptions(steps=300, batch_size=4, learning_rate=2e-2)))
    assert len(steps) == 300
    losses = steps[-1].losses
    assert len(losses) == 300
    assert sum(losses[-50:]) < 0.5 * sum(losses[:50])


def test_a_step_is_adamw_s_on_the_masked_loss():
    """One picture, one step: the update is torch's own for the gradient of the loss, however it was scaled."""
    model, start = Remembering(), torch.linspace(-1, 1, 4 * WIDTH).view(4, WIDTH)
    options = TrainingOptions(steps=1, batch_size=1, noise_offset=0, weight_decay=0)
    (state,) = train(model, options, 1, start.clone(), torch.ones(1, 1, 8, 8))
    # noised = √ᾱ latents + √(1 − ᾱ) noise: the noise follows from what the model was shown.
    ((noised, timesteps),) = model.asked
    alpha = 1 / (1 + SCHEDULE.sigmas[timesteps].view(-1, 1, 1, 1) ** 2)
    noise = (noised - alpha.sqrt() * examples(1).latents) / (1 - alpha).sqrt()
    vectors = start.clone().requires_grad_()
    shift = (vectors.mean(dim=0) @ model.weight.detach())[None, :, None, None]
    loss = (noised + shift - noise).square().sum(dim=1).mean()
    loss.backward()
    torch.optim.AdamW([vectors], lr=1e-3, weight_decay=0).step()
    assert state.losses[0] == pytest.approx(loss.item(), rel=1e-4)
    assert_close(state.vectors, vectors.detach(), rtol=1e-4, atol=1e-5)


def test_weight_decay_pulls_to_the_norm_that_vectors_began_with():
    """Where the loss says nothing, a long vector shrinks and a short one grows, in direction unchanged."""

    class Indifferent(LinearModel):
        def predict_noise(self, noised, timesteps, context):
            return noised + 0 * context.sum()

    initial = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(1))
    options = TrainingOptions(steps=400, learning_rate=0.1, weight_decay=0.5)
    *_, state = train(Indifferent(), TrainingOptions(steps=1), initial=initial)
    scales = torch.tensor([[0.2], [0.9], [1.5], [4.0]])
    moved = replace(state, newest=initial * scales)
    *_, last = train(Indifferent(), options, initial=initial, state=moved)
    assert_close(last.newest, initial, rtol=1e-3, atol=1e-4)


def test_the_strongest_weight_decay_holds_the_norm():
    """As far as to the first norm, and not beyond it."""
    initial = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(1))
    held, pulled = (
        [state.newest for state in train(LinearModel(), options, initial=initial)]
        for options in (TrainingOptions(steps=5, hold_norm=True), TrainingOptions(steps=5, weight_decay=1e9))
    )
    assert_close(pulled, held)


def test_a_norm_that_is_held_stays_while_directions_are_learned():
    initial = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(1)) * torch.tensor(
        [[0.2], [0.9], [1.5], [4.0]]
    )
    *_, free = train(LinearModel(), TrainingOptions(steps=20, learning_rate=0.1), initial=initial)
    assert ((free.newest.norm(dim=1) / initial.norm(dim=1) - 1).abs() > 0.01).any()
    for state in train(LinearModel(), TrainingOptions(steps=20, learning_rate=0.1, hold_norm=True), initial=initial):
        assert_close(state.newest.norm(dim=1), initial.norm(dim=1))
    assert (torch.cosine_similarity(state.newest, initial) < 0.999).any()


@pytest.mark.parametrize(("decay", "expected"), [(0.0, [1] * 8), (0.5, [1] * 5 + [3 / 4, 2 / 4, 1 / 4])])
def test_the_learning_rate_falls_over_the_last_part_of_the_steps(decay, expected):
    """Under a gradient that stays the same Adam moves every number by the learning rate."""

    class Steep(LinearModel):
        def predict_noise(self, noised, timesteps, context):
            return noised + 1e4 + context.mean()

    options = TrainingOptions(steps=8, learning_rate=0.01, weight_decay=0, decay=decay)
    initial = torch.zeros(4, WIDTH)
    states = [initial, *(state.newest for state in train(Steep(), options, initial=initial))]
    moved = torch.stack([(after - before).mean() for before, after in pairwise(states)])
    assert_close(moved, -0.01 * torch.tensor(expected), rtol=1e-3, atol=0)


@pytest.mark.parametrize("decay", [-0.1, 1.5])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(ValueError, match="decay is a part of the steps"):
        TrainingOptions(decay=decay)


def test_only_the_vectors_change():
    model = LinearModel()
    before = model.weight.detach().clone()
    initial = torch.randn(4, WIDTH)
    kept = initial.clone()
    *_, last = train(model, TrainingOptions(steps=5), initial=initial)
    assert torch.equal(model.weight, before)
    assert model.weight.grad is None
    assert torch.equal(initial, kept)
    assert last.vectors.shape == (4, WIDTH)
    assert not torch.equal(last.vectors, initial)


def test_training_is_deterministic_from_its_seed():
    def run(seed):
        *_, last = train(LinearModel(), TrainingOptions(steps=5, seed=seed))
        return last.vectors

    state = torch.random.get_rng_state()
    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_fewer_photos_than_the_batch_train_all_the_same():
    model = LinearModel()
    steps = list(train(model, TrainingOptions(steps=3, batch_size=8), pictures=2))
    assert len(steps) == 3
    assert len(set(model.prompts)) == 2


def test_every_photo_is_drawn_equally_often():
    model = LinearModel()
    list(train(model, TrainingOptions(steps=12, batch_size=1), pictures=4))
    assert Counter(model.prompts) == {f"photo of a {PLACEHOLDER} woman, {i}": 3 * TIMES_ENCODED for i in range(4)}


def test_counts_must_fit():
    with pytest.raises(ValueError, match="3 prompts need as many latents and masks, got 3 and 2"):
        train(LinearModel(), TrainingOptions(steps=1), masks=torch.ones(2, 1, 8, 8))
