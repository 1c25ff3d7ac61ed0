"""Train ID Token, called as ComfyUI calls it: files, names, stopping and going on."""

import math
from pathlib import Path

import comfy.model_management
import folder_paths
import pytest
import torch
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete
from vcd_pack.nodes.host import token_training
from vcd_pack.nodes.host.motion import KEY, add_motion_module
from vcd_pack.nodes.host.training import ComfyDenoiser
from vcd_pack.nodes.training import TrainIDToken
from vcd_pack.vcd_core.identity import Photo, load_id_token

PHOTOS = [Photo(str(i), torch.rand(50 + i, 70, 3, generator=torch.Generator().manual_seed(i))) for i in range(5)]


class FakeVAE:
    """Encodes by averaging 8x8 pixels."""

    decoded = 0
    latent_channels, latent_dim, downscale_ratio = 4, 2, 8  # as ComfyUI says it of Stable Diffusion 1.5's

    def __init__(self, seed=0):
        self.first_stage_model = torch.nn.Conv2d(1, 1, 1)
        torch.nn.init.constant_(self.first_stage_model.weight, seed)
        torch.nn.init.zeros_(self.first_stage_model.bias)

    def encode(self, images):
        grey = torch.nn.functional.avg_pool2d(images.movedim(-1, 1), 8)
        return torch.cat([grey, grey.mean(dim=1, keepdim=True)], dim=1) * 2 - 1

    def decode(self, latents):
        self.decoded += 1
        return torch.nn.functional.interpolate(latents[:, :3], scale_factor=8).movedim(1, -1).sigmoid()


def run(narrow, photos, name, vae=None, **settings):
    model, clip = narrow
    options = {"steps": 3, "batch_size": 2, "learning_rate": 1e-3, "token_count": 4, "resolution": 64, "seed": 0}
    with torch.inference_mode():
        return TrainIDToken.execute(
            model, clip, vae or FakeVAE(), photos, name, "woman", **{**options, "overwrite": False, **settings}
        )


def train(narrow, photos, name, **settings):
    return run(narrow, photos, name, **settings).result


def embeddings():
    """Where this narrow model's tokens go: it is no Stable Diffusion 1.5 by its width."""
    return Path(folder_paths.get_folder_paths("embeddings")[0]) / "vcd_demo"


def test_training_returns_token_prompt_and_loss(narrow):
    token, prompt, loss = train(narrow, PHOTOS, "returned")
    assert prompt == "embedding:vcd_demo/returned woman"
    assert token.steps == 3
    assert len(loss["loss"]) == 3
    saved = load_id_token(embeddings() / "returned.safetensors")
    assert torch.equal(saved.vectors, token.vectors)
    assert saved.thumbnail
    assert not list(embeddings().glob("*.training"))


def test_the_page_gets_the_token_s_card_and_what_was_remarked(narrow):
    dark = Photo("dark.png", torch.rand(40, 40, 3), torch.zeros(40, 40))
    shown = run(narrow, [*PHOTOS, dark], "shown").ui
    (text,) = shown["text"]
    assert "5 photos, 3 steps" in text
    assert "left out dark.png: its mask is empty" in text
    assert "no mask, so what is around the subject is learned as well: 0, 1, 2, 3, 4" in text
    assert "what the model draws for woman alone stays as it was" in text
    (card,) = shown["vcd_token"]
    assert (card["name"], card["noun"], card["steps"], card["vectors"]) == ("shown", "woman", 3, 4)
    assert card["prompt"] == "embedding:vcd_demo/shown woman"
    assert card["size"] == (embeddings() / "shown.safetensors").stat().st_size
    assert len(card["losses"]) == 3
    assert card["picture"].startswith("data:image/jpeg;base64,")
    assert run(narrow, [*PHOTOS, dark], "shown").ui["vcd_token"] == [card]  # used as it is


def test_a_sample_is_drawn_as_often_as_asked_without_changing_the_token(narrow):
    vae = FakeVAE()
    sampled, *_ = train(narrow, PHOTOS, "sampled", vae=vae, steps=6, sample_every=2)
    assert vae.decoded == 3
    plain, *_ = train(narrow, PHOTOS, "plain", steps=6, sample_every=0)
    assert torch.equal(sampled.vectors, plain.vectors)


def test_fewer_photos_than_the_batch(narrow):
    token, *_ = train(narrow, PHOTOS[:1], "single", batch_size=8)
    assert token.steps == 3


def test_the_same_photos_and_settings_are_not_trained_again(narrow):
    first, _, losses = train(narrow, PHOTOS, "same")
    again, prompt, loss = train(narrow, PHOTOS, "same")
    assert torch.equal(again.vectors, first.vectors)
    assert prompt == "embedding:vcd_demo/same woman"
    assert loss["loss"] == pytest.approx(losses["loss"], abs=1e-5)  # of the file
    assert [path.name for path in embeddings().glob("same*")] == ["same.safetensors"]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"steps": 4},
        {"augment": False},
        {"early_stop": True},
        {"initial_words": "man"},
        {"schedule": "linear, as released"},
        {"photos": PHOTOS[:4]},
    ],
)
def test_other_settings_get_a_numbered_name_and_the_first_token_stays(narrow, change):
    name = f"numbered_{next(iter(change))}"
    first, *_ = train(narrow, PHOTOS, name)
    second, prompt, _ = train(narrow, **{"photos": PHOTOS, "name": name, **change})
    assert prompt == f"embedding:vcd_demo/{name}_2 woman"
    assert second.name == f"{name}_2"
    assert not torch.equal(first.vectors, second.vectors)
    assert torch.equal(load_id_token(embeddings() / f"{name}.safetensors").vectors, first.vectors)


def test_another_model_is_another_setting(narrow):
    model, clip = narrow
    train(narrow, PHOTOS, "models")
    changed = model.clone()
    key = "diffusion_model.out.2.weight"
    changed.add_patches({key: (torch.ones_like(model.model.state_dict()[key]),)}, 0.1)
    token, *_ = train((changed, clip), PHOTOS, "models")
    assert token.name == "models_2"


@pytest.mark.parametrize("own_schedule", [True, False])
def test_a_model_with_a_motion_module_trains_as_without(narrow, motion_file, own_schedule):
    """On the checkpoint's noise levels, not on AnimateDiff's; and the model keeps both."""
    model, clip = narrow
    moving = add_motion_module(model, motion_file, own_schedule=own_schedule)
    levels = moving.get_model_object("model_sampling").sigmas.clone()
    name = f"moving_{own_schedule}"
    first, _, losses = train((moving, clip), PHOTOS, name)
    token, _, loss = train(narrow, PHOTOS, name, overwrite=True)
    assert loss == losses
    assert torch.equal(token.vectors, first.vectors)
    again, *_ = train((moving, clip), PHOTOS, name)
    assert again.name == name  # the same token to it
    assert torch.equal(moving.get_model_object("model_sampling").sigmas, levels)
    assert moving.get_additional_models_with_key(KEY)


@pytest.mark.parametrize(("sampling", "named"), [("lcm", "LCM"), ("v_prediction", "V_PREDICTION"), ("x0", "X0")])
def test_a_model_that_another_node_samples_otherwise_is_refused(narrow, sampling, named):
    (model,) = ModelSamplingDiscrete().patch(narrow[0], sampling, False)
    with pytest.raises(ValueError, match=f"changed how the model is sampled .*{named}.*connect the checkpoint's own"):
        train((model, narrow[1]), PHOTOS, "otherwise")
    (model,) = ModelSamplingDiscrete().patch(narrow[0], "eps", False)
    assert train((model, narrow[1]), PHOTOS, "as_it_is")[0].steps == 3


def test_clip_skip_and_another_vae_are_other_settings(narrow):
    model, clip = narrow
    train(narrow, PHOTOS, "skips")
    skipping = clip.clone()
    skipping.clip_layer(-2)
    token, *_ = train((model, skipping), PHOTOS, "skips")
    assert token.name == "skips_2"
    token, *_ = train(narrow, PHOTOS, "skips", vae=FakeVAE(1))
    assert token.name == "skips_3"


def test_weights_that_nothing_is_made_of_are_no_setting(narrow):
    """ComfyUI leaves a projection that Stable Diffusion 1.5 does not have as memory happened to be."""
    projection = narrow[1].cond_stage_model.clip_l.transformer.text_projection
    train(narrow, PHOTOS, "projection")
    with torch.inference_mode():
        projection.weight.add_(1)
    token, *_ = train(narrow, PHOTOS, "projection")
    assert token.name == "projection"


def test_a_vae_of_another_family_is_named(narrow):
    other, missing = FakeVAE(), FakeVAE()
    other.latent_channels, missing.first_stage_model = 16, None
    for vae in (other, missing):
        with pytest.raises(ValueError, match=r"connect the VAE of the Stable Diffusion 1\.5 checkpoint"):
            run(narrow, PHOTOS, "nothing", vae)
    assert not list(embeddings().glob("nothing*"))


def test_overwriting_replaces(narrow):
    train(narrow, PHOTOS, "replaced")
    second, *_ = train(narrow, PHOTOS, "replaced", seed=1, overwrite=True)
    assert torch.equal(load_id_token(embeddings() / "replaced.safetensors").vectors, second.vectors)
    assert [path.name for path in embeddings().glob("replaced*")] == ["replaced.safetensors"]


def test_a_stopped_training_leaves_a_usable_token_and_goes_on_when_queued_again(narrow, monkeypatch):
    unbroken, _, losses = train(narrow, PHOTOS, "unbroken", steps=6)

    def stop(_bar, step, *_):
        if step == 4:
            raise comfy.model_management.InterruptProcessingException

    monkeypatch.setattr(token_training.ProgressBar, "update_absolute", stop)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        train(narrow, PHOTOS, "stopped", steps=6)
    kept = load_id_token(embeddings() / "stopped_partial.safetensors")
    assert kept.steps == 4
    assert torch.isfinite(kept.vectors).all()
    assert not (embeddings() / "stopped.safetensors").exists()
    train(narrow, PHOTOS, "stopped", steps=2)  # another training of that name takes nothing away

    resumed = []
    real = token_training.train_id_token

    def watched(*arguments, **more):
        resumed.append(more["state"].step)
        return real(*arguments, **more)

    monkeypatch.setattr(token_training, "train_id_token", watched)
    token, _, whole = train(narrow, PHOTOS, "stopped", steps=6)
    assert resumed == [4]
    assert torch.equal(token.vectors, unbroken.vectors)
    assert whole == losses
    assert not list(embeddings().glob("stopped*.training"))


def test_a_stop_is_followed_within_a_step(narrow, monkeypatch):
    """Asked for while the sample of step 2 is drawn, which is not finished then."""
    real, drawn = token_training.sample_latents, []

    def stop():
        raise comfy.model_management.InterruptProcessingException

    def asked_meanwhile(*arguments):
        monkeypatch.setattr(comfy.model_management, "throw_exception_if_processing_interrupted", stop)
        drawn.append(real(*arguments))

    monkeypatch.setattr(token_training, "sample_latents", asked_meanwhile)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        train(narrow, PHOTOS, "asked", steps=4, sample_every=2)
    assert not drawn
    assert load_id_token(embeddings() / "asked_partial.safetensors").steps == 2


def test_a_training_stopped_in_its_first_step_writes_nothing(narrow, monkeypatch):
    def stopped(*_, **__):
        raise comfy.model_management.InterruptProcessingException

    monkeypatch.setattr(ComfyDenoiser, "encode_prompt", stopped)
    monkeypatch.setattr(token_training, "noun_noise", lambda *_: None)  # which comes before it
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        train(narrow, PHOTOS, "first")
    assert not list(embeddings().glob("first*"))


def test_divergence_keeps_the_last_good_tokens(narrow, monkeypatch):
    """A model that answers with no numbers to what step 3 learned; step 2's vectors are the last it knew."""
    real, asked = ComfyDenoiser.predict_noise, []

    def overflowing(self, noised, timesteps, context):
        asked.append(context.requires_grad)
        return real(self, noised, timesteps, context) * (math.nan if sum(asked) > 3 else 1)

    monkeypatch.setattr(ComfyDenoiser, "predict_noise", overflowing)
    with pytest.raises(RuntimeError, match=r"diverged.*[Ll]earning rate.*kept in .*wild_partial\.safetensors"):
        train(narrow, PHOTOS, "wild", steps=20)
    kept = load_id_token(embeddings() / "wild_partial.safetensors")
    assert not (embeddings() / "wild.safetensors").exists()
    assert not list(embeddings().glob("wild*.training"))
    assert torch.isfinite(kept.vectors).all()
    assert kept.steps == 2


def test_divergence_in_the_first_step_writes_nothing(narrow):
    dark = [Photo("nan", torch.full((64, 64, 3), math.nan))]
    with pytest.raises(ValueError, match="step 1 is not a finite number"):
        train(narrow, dark, "nothing")
    assert not list(embeddings().glob("*nothing*"))


def test_a_folder_that_cannot_be_written_to_is_said_before_anything_is_encoded(narrow, monkeypatch):
    """Such as embeddings on a volume that is mounted for reading alone."""
    monkeypatch.setattr(token_training, "_folder_for", lambda _width: Path("/proc/embeddings"))
    vae = FakeVAE()
    vae.encode = None
    with pytest.raises(ValueError, match=r"nothing can be written to /proc \("):
        train(narrow, PHOTOS, "unwritten", vae=vae)


def test_a_path_in_the_name_is_refused_when_it_comes_through_a_link(narrow):
    """A linked input is not known when the prompt is validated."""
    with pytest.raises(ValueError, match="token name"):
        train(narrow, PHOTOS, "../../escaped")


def test_photos_of_which_none_can_be_used(narrow):
    dark = [Photo(str(i), torch.rand(40, 40, 3), torch.zeros(40, 40)) for i in range(2)]
    with pytest.raises(ValueError, match="no photos to train on[^$]*left out 0: its mask is empty"):
        train(narrow, dark, "dark")


def test_an_empty_noun_is_refused_before_anything_is_encoded(narrow):
    model, clip = narrow
    with pytest.raises(ValueError, match="noun is empty"):
        TrainIDToken.execute(model, clip, None, PHOTOS, "nounless", " ", 3, 2, 1e-3, 4, 64, 0, False)
