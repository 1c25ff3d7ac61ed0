"""Trainings that stop: killed and taken up again, fitted to held-out pictures, diverged."""

import math
from collections import Counter
from dataclasses import fields, replace

import pytest
import torch
from linear_model import WIDTH, LinearModel, examples, train

from vcd_core.identity import PLACEHOLDER, Examples, TrainingDiverged, TrainingOptions, load_training, save_training


def test_a_training_that_was_killed_at_any_step_ends_as_an_unbroken_one(tmp_path):
    """Through a file and new objects: all of the state, to the bit."""
    options = TrainingOptions(steps=9, batch_size=2, learning_rate=0.05, check_every=2, decay=0.7)
    arguments = {"pictures": 5, "held_out": examples(2, seed=8)}
    *_, unbroken = train(LinearModel(), options, **arguments)
    for killed in range(1, 9):
        for state in train(LinearModel(), options, **arguments):
            if state.step == killed:
                save_training(tmp_path / "ava.training", state, "settings")
                break
        state = load_training(tmp_path / "ava.training", "settings")
        *_, resumed = train(LinearModel(), options, **arguments, state=state)
        for field in fields(unbroken):
            one, other = getattr(unbroken, field.name), getattr(resumed, field.name)
            assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other, (killed, field.name)


def test_a_finished_training_takes_no_more_steps():
    options = TrainingOptions(steps=3)
    *_, last = train(LinearModel(), options)
    assert list(train(LinearModel(), options, state=last)) == []


def test_a_training_of_other_settings_is_not_taken_up(tmp_path):
    *_, state = train(LinearModel(), TrainingOptions(steps=2))
    path = tmp_path / "ava.training"
    save_training(path, state, "settings")
    assert load_training(path, "other settings") is None
    assert load_training(tmp_path / "absent.training", "settings") is None
    path.write_bytes(path.read_bytes()[:-20])
    assert load_training(path, "settings") is None


# ---------------------------------------------------------------- held-out pictures


def test_training_stops_when_held_out_pictures_are_fitted_no_better_and_keeps_the_best():
    """The held-out subject needs the opposite of what is trained on: the first check is the best."""

    class Torn(LinearModel):
        def encode_prompt(self, prompt, learned):
            return -learned if "held out" in prompt else learned

    away = Examples(*(getattr(examples(2), name) for name in ("latents", "masks")), [f"{PLACEHOLDER} held out"] * 2)
    initial = torch.full((4, WIDTH), 0.5)
    options = TrainingOptions(steps=500, learning_rate=0.05, check_every=5, patience=3)
    model = Torn()
    model.weight = -model.weight.detach().abs()
    states = list(train(model, options, initial=-initial, held_out=away))
    checks = states[-1].checks
    lowest = checks.index(min(checks))
    assert len(states) == 5 * (lowest + 1 + 3) < 500
    assert torch.equal(states[-1].vectors, states[5 * (lowest + 1) - 1].newest)
    assert not torch.equal(states[-1].vectors, states[-1].newest)
    (remark,) = states[-1].remarks(options)
    assert f"after step {len(states)} of 500: 3 checks" in remark


def test_where_the_rate_falls_vectors_are_compared_only_once_it_does():
    """However much better the first steps fit the held-out pictures, what is handed out has settled."""
    options = TrainingOptions(steps=40, learning_rate=0.05, check_every=5, patience=1, decay=0.5)
    states = list(train(LinearModel(), options, held_out=examples(2, seed=8)))
    assert [len(state.checks) for state in states[:25]] == [0] * 24 + [1]
    assert torch.equal(states[19].vectors, states[19].newest)


def test_before_the_first_check_the_newest_vectors_are_the_ones_to_use():
    options = TrainingOptions(steps=6, learning_rate=0.05, check_every=5)
    first, *_, fifth, last = train(LinearModel(), options, held_out=examples(2, seed=8))
    assert torch.equal(first.vectors, first.newest)
    assert not last.remarks(options)
    assert len(fifth.checks) == 1


def test_a_check_encodes_each_prompt_once():
    """However many noise levels it looks at: the vectors are the same at all of them."""
    held_out = replace(examples(2, seed=8), prompts=[f"held out {PLACEHOLDER}", f"held out {PLACEHOLDER} too"])
    model = LinearModel()
    list(train(model, TrainingOptions(steps=4, check_every=2), held_out=held_out))
    assert Counter(prompt for prompt in model.prompts if prompt.startswith("held out")) == {
        prompt: 2 for prompt in held_out.prompts
    }


def test_a_held_out_loss_that_is_no_number_is_never_the_best():
    class Blind(LinearModel):
        def predict_noise(self, noised, timesteps, context):
            noise = super().predict_noise(noised, timesteps, context)
            return noise if torch.is_grad_enabled() or len(self.prompts) > 40 else noise * math.nan

    options = TrainingOptions(steps=40, learning_rate=0.05, check_every=5)
    *_, last = train(Blind(), options, held_out=examples(2, seed=8))
    assert last.checks[0] == math.inf
    assert math.isfinite(min(last.checks))
    assert last.stale < len(last.checks) - 1


# ---------------------------------------------------------------- divergence


def test_divergence_stops_with_the_last_good_vectors():
    model = LinearModel()
    model.broken_after = 3
    seen = []
    with pytest.raises(TrainingDiverged, match="step 4 .*learning rate") as caught:
        seen.extend(train(model, TrainingOptions(steps=10)))
    assert len(seen) == 3
    assert caught.value.last is seen[-2]  # nobody knows whether those of step 3 are good: their loss is the broken one
    assert torch.isfinite(caught.value.last.vectors).all()


def test_the_vectors_that_are_kept_gave_a_finite_loss():
    """What step 4 makes is finite itself, but not what the model says of it."""
    model, unbroken = LinearModel(), list(train(LinearModel(), TrainingOptions(steps=4)))
    encode, bad = model.encode_prompt, unbroken[3].vectors
    model.encode_prompt = lambda prompt, learned: (
        encode(prompt, learned) * (math.nan if torch.equal(learned, bad) else 1)
    )
    with pytest.raises(TrainingDiverged, match="loss of step 5") as caught:
        list(train(model, TrainingOptions(steps=10)))
    assert caught.value.last.step == 3
    assert torch.equal(caught.value.last.vectors, unbroken[2].vectors)


def test_vectors_that_blow_up_are_not_handed_out():
    """Where the loss stays the same however far they go."""

    class Drawing(LinearModel):
        def predict_noise(self, noised, timesteps, context):
            return noised + 1 + (context - context.detach()).mean()

    steps = []
    with pytest.raises(TrainingDiverged, match="the token of step 12 is not a finite number") as caught:
        steps.extend(train(Drawing(), TrainingOptions(steps=20, learning_rate=3e37, weight_decay=0)))
    assert [state.step for state in steps] == list(range(1, 12))
    assert caught.value.last is steps[-1]
    assert torch.isfinite(steps[-1].vectors).all()


def test_divergence_in_the_first_step_leaves_nothing():
    model = LinearModel()
    model.broken_after = 0
    with pytest.raises(TrainingDiverged) as caught:
        list(train(model, TrainingOptions(steps=10)))
    assert caught.value.last is None
