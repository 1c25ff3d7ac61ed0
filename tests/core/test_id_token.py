"""The token file, the loss and the training loop."""

import json
import math
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from vcd_core.identity import (
    PLACEHOLDER,
    IDToken,
    TrainingDiverged,
    TrainingOptions,
    check_token_name,
    initial_vectors,
    load_id_token,
    masked_loss,
    save_id_token,
    save_partial_id_token,
    train_id_token,
)
from vcd_core.sampling import DiscreteSchedule

TOKEN = IDToken("ava", torch.randn(4, 768), "woman", 200, base="SD15", date="2026-01-31")


def test_a_token_survives_its_file(tmp_path):
    path = save_id_token(TOKEN, tmp_path)
    loaded = load_id_token(path)
    assert torch.equal(loaded.vectors, TOKEN.vectors)
    assert (loaded.name, loaded.noun, loaded.steps, loaded.base, loaded.date) == (
        "ava",
        "woman",
        200,
        "SD15",
        "2026-01-31",
    )
    assert loaded.prompt == "embedding:ava woman"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_what_other_tools_read(tmp_path):
    path = save_id_token(TOKEN, tmp_path)
    assert {key: value.shape for key, value in load_file(path).items()} == {"clip_l": (4, 768)}
    assert path.stat().st_size < 13_000
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])
    assert header["__metadata__"]["noun"] == "woman"


@pytest.mark.parametrize(
    "name", ["", "../ava", "a/b", "a\\b", "/etc/ava", "a b", "ava.safetensors", ".ava", "a:b", "a,b", "x" * 65, "a\n"]
)
def test_a_name_cannot_leave_its_folder_or_break_a_prompt(tmp_path, name):
    with pytest.raises(ValueError, match="token name"):
        save_id_token(IDToken(name, TOKEN.vectors, "woman", 1), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["ava", "Ava_2", "ava-b", "アヴァ", "7"])
def test_ordinary_names_pass(name):
    assert check_token_name(name) == name


def test_nothing_is_overwritten_by_accident(tmp_path):
    path = save_id_token(TOKEN, tmp_path)
    other = IDToken("ava", torch.zeros(2, 768), "cat", 1)
    with pytest.raises(ValueError, match="exists already"):
        save_id_token(other, tmp_path)
    assert load_id_token(path).noun == "woman"
    save_id_token(other, tmp_path, overwrite=True)
    assert load_id_token(path).noun == "cat"


def test_a_token_has_the_permissions_of_any_file(tmp_path):
    (tmp_path / "other").write_bytes(b"")
    assert save_id_token(TOKEN, tmp_path).stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_broken_off_training_never_takes_the_place_of_a_token(tmp_path):
    finished = save_id_token(TOKEN, tmp_path)
    partial = save_partial_id_token(IDToken("ava", torch.zeros(4, 768), "woman", 3), tmp_path)
    assert partial.stem == "ava_partial"
    assert torch.equal(load_id_token(finished).vectors, TOKEN.vectors)
    long = save_partial_id_token(IDToken("x" * 64, torch.zeros(4, 768), "woman", 3), tmp_path)
    assert load_id_token(long).steps == 3


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


def test_vectors_that_are_not_finite_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="not finite"):
        save_id_token(IDToken("ava", torch.tensor([[math.nan]]), "woman", 1), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_damaged_or_foreign_file_is_named(tmp_path):
    path = save_id_token(TOKEN, tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"ava\.safetensors cannot be read"):
        load_id_token(path)
    save_file({"other": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match=r"foreign\.safetensors holds no ID token"):
        load_id_token(tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match="cannot be read"):
        load_id_token(tmp_path / "absent.safetensors")


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


def train(model, options, pictures=3, initial=None, masks=None):
    latents = torch.randn(2 * pictures, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    masks = torch.ones(2 * pictures, 1, 64, 64) if masks is None else masks
    prompts = [f"photo of a {PLACEHOLDER} woman, {i}" for i in range(pictures)]
    initial = torch.full((4, WIDTH), 2.0) if initial is None else initial
    return train_id_token(model, SCHEDULE, latents, masks, prompts, initial, options)


def test_training_lowers_the_masked_loss():
    steps = list(train(LinearModel(), TrainingOptions(steps=300, batch_size=4, learning_rate=2e-2)))
    assert len(steps) == 300
    losses = [step.loss for step in steps]
    assert sum(losses[-50:]) < 0.5 * sum(losses[:50])


def test_a_step_is_adamw_s_on_the_masked_loss():
    """One picture, one step: the update is torch's own for the gradient of the loss, however it was scaled."""
    model, start = LinearModel(), torch.linspace(-1, 1, 4 * WIDTH).view(4, WIDTH)
    seen = {}
    predict = model.predict_noise

    def remember(noised, timesteps, context):
        seen.update(noised=noised)
        return predict(noised, timesteps, context)

    model.predict_noise = remember
    masks = torch.ones(2, 1, 8, 8)
    (step,) = train(model, TrainingOptions(steps=1, batch_size=1, noise_offset=0), 1, start.clone(), masks)
    # noised = √ᾱ latents + √(1 − ᾱ) noise, so the target follows from it and the drawn timestep is not needed:
    # with a linear model the gradient's direction is all that AdamW's first step looks at.
    vectors = start.clone().requires_grad_()
    shift = (vectors.mean(dim=0) @ model.weight.detach())[None, :, None, None]
    generator = torch.Generator().manual_seed(0)
    torch.randperm(1, generator=generator), torch.randint(2, (1,), generator=generator)
    torch.randint(1000, (1,), generator=generator)
    noise = torch.randn(1, 4, 8, 8, generator=generator)
    optimizer = torch.optim.AdamW([vectors], lr=1e-3, weight_decay=1e-2)
    loss = masked_loss(seen["noised"] + shift, noise, masks[:1])
    loss.backward()
    optimizer.step()
    assert step.loss == pytest.approx(loss.item(), rel=1e-6)
    assert_close(step.vectors, vectors.detach(), rtol=1e-6, atol=1e-7)


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
    assert {prompt: model.prompts.count(prompt) for prompt in model.prompts} == {
        f"photo of a {PLACEHOLDER} woman, {i}": 3 for i in range(4)
    }


def test_divergence_stops_with_the_last_good_vectors():
    model = LinearModel()
    model.broken_after = 3
    seen = []
    with pytest.raises(TrainingDiverged, match="step 4 .*learning rate") as caught:
        seen.extend(train(model, TrainingOptions(steps=10)))
    assert len(seen) == 3
    assert caught.value.last is seen[-1]
    assert torch.isfinite(caught.value.last.vectors).all()


def test_vectors_that_blow_up_are_not_handed_out():
    options = TrainingOptions(steps=10, learning_rate=1e20, weight_decay=1e15)
    steps = []
    with pytest.raises(TrainingDiverged):
        steps.extend(train(LinearModel(), options))
    assert all(torch.isfinite(step.vectors).all() for step in steps)


def test_divergence_in_the_first_step_leaves_nothing():
    model = LinearModel()
    model.broken_after = 0
    with pytest.raises(TrainingDiverged) as caught:
        list(train(model, TrainingOptions(steps=10)))
    assert caught.value.last is None


def test_counts_must_fit():
    with pytest.raises(ValueError, match="3 prompts need 6 latents and masks"):
        list(train(LinearModel(), TrainingOptions(steps=1), masks=torch.ones(3, 1, 8, 8)))


def test_tokens_start_at_the_noun_but_apart():
    noun = torch.randn(2, 768)
    start = initial_vectors(noun, 5, torch.Generator().manual_seed(0))
    assert start.shape == (5, 768)
    relative = (start - noun[[0, 1, 0, 1, 0]]).norm() / start.norm()
    assert 0.05 < relative < 0.2
    assert (torch.pdist(start) > 0).all()
    assert_close(start, initial_vectors(noun, 5, torch.Generator().manual_seed(0)))
