"""The loss and the training loop."""

import math
from collections import Counter
from dataclasses import fields, replace
from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from vcd_core.identity import (
    PLACEHOLDER,
    Examples,
    TrainingDiverged,
    TrainingOptions,
    context_loss,
    initial_vectors,
    load_training,
    masked_loss,
    save_training,
    train_id_token,
)
from vcd_core.sampling import DiscreteSchedule


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


WIDTH = 6
TIMES_ENCODED = 2  # a prompt in a step: for the loss, and for the gradient


class LinearModel:
    """Predicts the noise as a linear function of the mean token; the best token is known."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.randn(WIDTH, 4, generator=generator).requires_grad_()
        self.words = {}
        self.prompts = []
        self.broken_after = math.inf

    def embed_words(self, words):
        return torch.ones(1, WIDTH)

    def encode_prompt(self, prompt, learned):
        assert PLACEHOLDER in prompt
        self.prompts.append(prompt)
        return learned

    def predict_noise(self, noised, timesteps, context):
        self.broken_after -= 1
        if self.broken_after < 0:
            return noised * math.nan
        shift = (context.mean(dim=1) @ self.weight.detach())[:, :, None, None]
        return noised + shift


SCHEDULE = DiscreteSchedule.from_betas("scaled_linear")


def examples(pictures=3, masks=None, seed=3):
    latents = torch.randn(pictures, 4, 8, 8, generator=torch.Generator().manual_seed(seed))
    masks = torch.ones(pictures, 1, 8, 8) if masks is None else masks
    return Examples(latents, masks, [f"photo of a {PLACEHOLDER} woman, {i}" for i in range(pictures)])


def train(model, options, pictures=3, initial=None, masks=None, **more):
    initial = torch.full((4, WIDTH), 2.0) if initial is None else initial
    return train_id_token(model, SCHEDULE, examples(pictures, masks), initial, options, **more)


def test_training_lowers_the_masked_loss():
    steps = list(train(LinearModel(), TrainingOptions(steps=300, batch_size=4, learning_rate=2e-2)))
    assert len(steps) == 300
    losses = steps[-1].losses
    assert len(losses) == 300
    assert sum(losses[-50:]) < 0.5 * sum(losses[:50])


class Remembering(LinearModel):
    """Keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = []

    def predict_noise(self, noised, timesteps, context):
        self.asked.append((noised, timesteps))
        return super().predict_noise(noised, timesteps, context)


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


def test_a_norm_that_is_held_stays_while_directions_are_learned():
    initial = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(1)) * torch.tensor(
        [[0.2], [0.9], [1.5], [4.0]]
    )
    *_, free = train(LinearModel(), TrainingOptions(steps=20, learning_rate=0.1), initial=initial)
    assert ((free.newest.norm(dim=1) / initial.norm(dim=1) - 1).abs() > 0.01).any()
    for state in train(LinearModel(), TrainingOptions(steps=20, learning_rate=0.1, hold_norm=True), initial=initial):
        assert_close(state.newest.norm(dim=1), initial.norm(dim=1))
    assert (torch.cosine_similarity(state.newest, initial) < 0.999).any()


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


def test_counts_must_fit():
    with pytest.raises(ValueError, match="3 prompts need as many latents and masks, got 3 and 2"):
        train(LinearModel(), TrainingOptions(steps=1), masks=torch.ones(2, 1, 8, 8))


def test_tokens_start_at_the_noun_but_apart():
    noun = torch.randn(2, 768)
    start = initial_vectors(noun, 5, torch.Generator().manual_seed(0))
    assert start.shape == (5, 768)
    relative = (start - noun[[0, 1, 0, 1, 0]]).norm() / start.norm()
    assert 0.05 < relative < 0.2
    assert (torch.pdist(start) > 0).all()
    assert_close(start, initial_vectors(noun, 5, torch.Generator().manual_seed(0)))


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
