"""The demo model on the canvas is the demo model without ComfyUI."""

import shutil
from dataclasses import replace
from pathlib import Path

import comfy.sample
import comfy.samplers
import folder_paths
import pytest
import torch
from demo_weights import write_random_demo
from torch.testing import assert_close
from vcd_pack.nodes.demo import STYLES, DemoModel
from vcd_pack.nodes.host import demo as host
from vcd_pack.nodes.training import TrainIDToken
from vcd_pack.vcd_core.identity import IDToken, Photo, Recipe, TrainingOptions, load_id_token, save_id_token
from vcd_pack.vcd_core.sampling import DiscreteSchedule, classifier_free_guidance
from vcd_pack.vcd_core.standalone.config import DEMO
from vcd_pack.vcd_core.standalone.demo_model import STYLE_FILE, load_demo_model, load_demo_motion
from vcd_pack.vcd_core.standalone.motion import inserted_motion
from vcd_pack.vcd_core.standalone.pipeline import plan, train_token
from vcd_pack.vcd_core.standalone.prompts import parse_prompt
from vcd_pack.vcd_core.standalone.weights_folder import write_manifest

FRAMES, CFG = 3, 4.0
PROMPT, NEGATIVE = "a photo of a cat, on a beach", "woman"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pack") / "demo" / "weights"
    write_random_demo(folder, core="vcd_pack.vcd_core")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host, "WEIGHTS", folder)
        yield folder


@pytest.fixture(scope="module", params=STYLES)
def style(request):
    return request.param


@pytest.fixture(scope="module")
def node(weights, style):
    """MODEL, MODEL with motion, CLIP, VAE."""
    with torch.inference_mode():
        return DemoModel.execute(style).result


@pytest.fixture(scope="module")
def standalone(weights, style):
    return load_demo_model(weights, style=style == "ink")


def embeddings() -> Path:
    return Path(folder_paths.get_folder_paths("embeddings")[0])


def encode(clip, prompt: str) -> torch.Tensor:
    return clip.encode_from_tokens(clip.tokenize(prompt)).float()


@torch.inference_mode()
@pytest.mark.parametrize("moving", [False, True], ids=["still", "moving"])
@pytest.mark.parametrize("timestep", [30, 500, 900])
def test_both_predict_the_same_noise(node, standalone, weights, moving, timestep, rng):
    still, with_motion, clip, _ = node
    model = with_motion if moving else still
    schedule = DiscreteSchedule.from_betas("linear" if moving else "scaled_linear")
    sigma = schedule.sigmas[timestep]
    noise = torch.randn(FRAMES, 4, 16, 16, generator=rng)
    conds = [[[encode(clip, prompt), {}]] for prompt in (PROMPT, NEGATIVE)]
    # One step of Euler's method down to σ = 0 is the prediction of the clean latents.
    x0 = comfy.sample.sample_custom(
        model,
        noise,
        CFG,
        comfy.samplers.sampler_object("euler"),
        torch.tensor([sigma, 0.0]),
        *conds,
        torch.zeros_like(noise),
        disable_pbar=True,
    )
    predicted = noise - x0 * DEMO.scaling_factor / sigma

    reference = replace(standalone, schedule=schedule)
    denoise = classifier_free_guidance(
        *(reference.denoiser(reference.encode_pieces([prompt])) for prompt in (PROMPT, NEGATIVE)), CFG
    )
    alone = noise - denoise(noise * sigma, sigma) / sigma
    with inserted_motion(reference.unet, load_demo_motion(weights)):
        together = noise - denoise(noise * sigma, sigma) / sigma
    assert_close(predicted, together if moving else alone, rtol=0, atol=1e-4)
    assert (together - alone).abs().max() > 0.01  # otherwise the line above says nothing about motion


@torch.inference_mode()
def test_both_read_a_prompt_alike(node, standalone):
    """Words that the model knows, words that it does not, and the vectors of a learned subject."""
    _, _, clip, _ = node
    vectors = torch.randn(3, DEMO.text_width)
    save_id_token(IDToken("nora", vectors, "woman", 1), embeddings(), overwrite=True)
    for prompt in (PROMPT, "", "an entirely foreign sentence", "a photo of embedding:nora woman"):
        expected = standalone.encode_pieces(parse_prompt(prompt, embeddings()))
        assert_close(encode(clip, prompt)[0], expected, rtol=0, atol=2e-5)
    foreign, unknown = encode(clip, "teapot"), encode(clip, "volcano")
    assert torch.equal(foreign, unknown)
    assert not torch.allclose(foreign, encode(clip, "cat"), atol=1e-3)


@torch.inference_mode()
def test_both_have_one_vae(node, standalone, rng):
    model, _, _, vae = node
    images = torch.rand(2, 64, 72, 3, generator=rng)
    latents = model.model.process_latent_in(vae.encode(images)).float()
    assert_close(latents, standalone.encode(images.movedim(3, 1) * 2 - 1), rtol=0, atol=1e-4)
    assert torch.equal(vae.encode(images), vae.encode(images))
    decoded = vae.decode(model.model.process_latent_out(latents))
    assert_close(decoded, standalone.decode(latents).movedim(1, 3) * 0.5 + 0.5, rtol=0, atol=1e-4)


def test_a_token_trained_in_comfyui_is_the_one_trained_without(node, standalone):
    model, _, clip, vae = node
    photos = [Photo(str(i), torch.rand(64, 64, 3, generator=torch.Generator().manual_seed(i))) for i in range(3)]
    settings = {"steps": 3, "batch_size": 2, "learning_rate": 1e-3}
    with torch.inference_mode():
        token, prompt, losses = TrainIDToken.execute(
            model, clip, vae, photos, "mia", "cat", **settings, token_count=4, resolution=64, seed=5, overwrite=True
        ).result
    recipe = Recipe("cat", 64, options=TrainingOptions(**settings, seed=5))
    state = train_token(standalone, plan(standalone, photos, recipe))
    assert losses["loss"] == pytest.approx(state.losses, rel=1e-5)
    assert_close(token.vectors, state.vectors, rtol=0, atol=1e-5)
    assert prompt == "embedding:vcd_demo/mia cat"

    saved = load_id_token(embeddings() / "vcd_demo" / "mia.safetensors")
    assert torch.equal(saved.vectors, token.vectors)
    assert token.base == "DemoSD15"
    with torch.inference_mode():
        expected = standalone.encode_pieces(["a photo of ", token.vectors, " cat"])
        assert_close(encode(clip, f"a photo of {prompt}")[0], expected, rtol=0, atol=2e-5)


def test_every_weight_of_the_file_is_in_the_models(weights):
    """ComfyUI itself only logs what it misses."""
    with torch.inference_mode():
        model, _, clip, vae = DemoModel.execute("soft").result
    written = host.read_demo_weights(weights)
    loaded = {
        "model.diffusion_model.": model.model.diffusion_model.state_dict(),
        "cond_stage_model.transformer.": clip.cond_stage_model.clip_l.transformer.state_dict(),
        "first_stage_model.": vae.first_stage_model.state_dict(),
    }
    names = {prefix + name for prefix, state in loaded.items() for name in state}
    assert names - written.keys() == {"cond_stage_model.transformer.text_projection.weight"}  # SD1.5 has none either
    assert written.keys() <= names
    for prefix, state in loaded.items():
        for name, value in state.items():
            if prefix + name in written:
                assert torch.equal(value.float(), written[prefix + name].float()), name
    assert model.get_model_object("latent_format").scale_factor == DEMO.scaling_factor


def test_the_second_style_says_when_its_file_is_missing(weights, tmp_path, monkeypatch):
    folder = shutil.copytree(weights, tmp_path / "demo" / "weights")
    (folder / STYLE_FILE).unlink()
    monkeypatch.setattr(host, "WEIGHTS", folder)
    with torch.inference_mode():
        DemoModel.execute("soft")
        with pytest.raises(ValueError, match=r"demo-style\.safetensors is missing.*git checkout -- demo/weights"):
            DemoModel.execute("ink")


def test_other_weights_are_loaded_anew_and_the_same_are_not(weights, tmp_path, monkeypatch):
    before = DemoModel.fingerprint_inputs(style="soft")
    assert DemoModel.fingerprint_inputs(style="soft") == before
    folder = shutil.copytree(weights, tmp_path / "demo" / "weights")
    monkeypatch.setattr(host, "WEIGHTS", folder)
    assert DemoModel.fingerprint_inputs(style="soft") == before
    (folder / STYLE_FILE).unlink()
    write_manifest(folder)
    assert DemoModel.fingerprint_inputs(style="soft") != before
