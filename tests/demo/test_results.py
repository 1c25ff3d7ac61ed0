"""What the weights that ship can do, on people held out from training: small samples, with room for chance."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from demo import measure, places, world
from demo.appearance import NOUNS
from demo.evaluate_motion import statistics, world_clip
from demo.people import CAST, PHOTOS, member, photos, stranger
from demo.reader import look_features, similarity
from demo.shots import random_shot
from demo.tensors import as_tensor
from demo.weights import WEIGHTS, load_eyes
from vcd_core.identity import load_id_token, load_photos
from vcd_core.metrics import Evaluator, likeness_of_neighbours
from vcd_core.standalone.demo_model import load_demo_model, load_demo_motion
from vcd_core.standalone.pipeline import ClipOptions, make_clip

TOKEN = Path(__file__).parents[1] / "data/mia.safetensors"
PLACES = ("on a beach", "in the snow", "on the moon", "in a city at night")


@pytest.fixture(scope="module")
def model():
    return load_demo_model(WEIGHTS)


@pytest.fixture(scope="module")
def eyes():
    return load_eyes()


@pytest.fixture(scope="module")
def drawn():
    """Sixteen pictures of strangers."""
    rng = np.random.default_rng(3)
    looks = [stranger(NOUNS[number % len(NOUNS)], 900 + number) for number in range(16)]
    shots = [random_shot(rng, framing=("half", "portrait")[number % 2]) for number in range(16)]
    return [world.render(look, shot) for look, shot in zip(looks, shots, strict=True)]


@torch.no_grad()
def test_the_autoencoder_keeps_thirty_decibels(model, drawn):
    images = as_tensor([one.image for one in drawn[:8]])
    back = torch.cat([model.decode(model.encode(image[None])) for image in images]).clamp(-1, 1)
    decibels = 10 * torch.log10(4 / (back - images).square().mean((1, 2, 3)))
    assert decibels.mean() >= 30


def test_the_detector_finds_the_face_and_its_eyes(eyes, drawn):
    images = as_tensor([one.image for one in drawn]) * 0.5 + 0.5
    for one, faces in zip(drawn, eyes.detector.detect(images), strict=True):
        assert len(faces) == 1
        x0, y0, x1, y1 = one.face_box
        assert np.abs(np.array(faces[0].box) - one.face_box).max() < 0.2 * max(x1 - x0, y1 - y0)
        assert np.linalg.norm(faces[0].landmarks.numpy() - one.landmarks, axis=1).max() < 0.2 * (x1 - x0)


def test_the_reader_knows_strangers_from_each_other(eyes, drawn):
    readings = eyes.read(as_tensor([one.image for one in drawn]) * 0.5 + 0.5)
    table = np.array([[similarity(one.look, reading) for one in drawn] for reading in readings])
    assert table.diagonal().mean() > 0.93
    assert (table.argmax(1) == np.arange(len(drawn))).mean() > 0.9


def test_scores_by_the_reader_tell_who_is_in_a_clip(eyes, drawn):
    """Against pictures of the same people and of others; and a picture without a face has none."""
    frames = [torch.from_numpy(one.image).float() / 255 for one in drawn[:4]]
    reader = measure.AttributeEmbedder(eyes)
    right, wrong = (torch.stack([look_features(one.look) for one in some]) for some in (drawn[:4], drawn[4:8]))
    seen = reader.embed_images([*frames, torch.full((128, 128, 3), 0.5)])
    assert seen[4].isnan().all()
    known = torch.cosine_similarity(seen[:4], right)
    assert known.mean() > 0.9
    assert known.mean() > torch.cosine_similarity(seen[:4], wrong).mean() + 0.3
    one, other = member("mia"), replace(member("mia"), hat="crown", eyes=(46, 160, 78))
    assert torch.cosine_similarity(look_features(one), look_features(other), dim=0) == pytest.approx(10 / 12)
    (score,) = [score for score in Evaluator(frames, face=reader).score(frames[:1]).scores if "face" in score.name]
    assert score.backbone == "the demo's attribute reader"


def test_the_model_draws_the_place_that_is_named(model, eyes):
    prompts = [[f"a photo of a {noun} {place}"] for noun in ("woman", "robot") for place in PLACES]
    readings = eyes.read(measure.draw_prompts(model, prompts, seed=1))
    right = [reading.place in prompt[0] for reading, prompt in zip(readings, prompts, strict=True)]
    assert np.mean(right) >= 0.7


def test_a_token_draws_its_subject_where_no_photo_shows_it(model, eyes):
    look, token = member("mia"), load_id_token(TOKEN)
    by = {"noun": measure.by_noun(look), "token": measure.by_token(look, token.vectors)}
    scores = {}
    for way, subject in by.items():
        prompts = [["a portrait of ", *subject, f" {place}"] for place in PLACES]
        readings = eyes.read(measure.draw_prompts(model, prompts, seed=2))
        scores[way] = measure.identity_scores(look, readings).mean()
    assert scores["token"] > scores["noun"] + 0.15


def test_the_motion_module_makes_pictures_into_a_clip_that_moves(model):
    motion, options = load_demo_motion(WEIGHTS), ClipOptions(16, 128, 10, measure.CFG, gamma=0.1, seed=4)
    prompt = ["a half body photo of a man walking in a city at night"]
    clip, pictures = (make_clip(model, prompt, [""], options, module) for module in (motion, None))
    assert likeness_of_neighbours(pictures) < 0.7
    assert 0.85 < likeness_of_neighbours(clip) < 0.995


def test_a_clip_goes_as_its_prompt_says(model, eyes):
    """From the same noise: where the picture drifts a face crosses it, who waves stays in place."""
    motion, options = load_demo_motion(WEIGHTS), ClipOptions(16, 128, 10, measure.CFG, gamma=0.1, seed=5)
    travel = {}
    for action in ("drift", "wave"):
        clip = make_clip(model, [world_clip(action, 0)[0]], [""], options, motion)
        travel[action] = statistics(clip.movedim(-1, 1), eyes.detector)["travel x"]
    assert travel["drift"] > 0.05
    assert travel["wave"] < 0.5 * travel["drift"]


def test_the_second_style_is_paler_as_its_drawings_are(model):
    def colour(images):  # (N, 3, H, W)
        return (images.amax(1) - images.amin(1)).mean().item()

    def drawn(style):
        rng = np.random.default_rng(4)
        shots = [random_shot(rng, place, "portrait", style) for place in places.PLACES for _ in range(4)]
        return as_tensor([world.render(stranger("woman", 950), shot).image for shot in shots]) * 0.5 + 0.5

    prompts = [[f"a portrait of a {noun} {place}"] for noun in ("woman", "cat") for place in PLACES]
    models = {"soft": model, "ink": load_demo_model(WEIGHTS, style=True)}
    made = {style: colour(measure.draw_prompts(one, prompts, seed=3)) for style, one in models.items()}
    assert made["soft"] - made["ink"] > 0.25 * (colour(drawn("soft")) - colour(drawn("ink"))) > 0


def test_all_weights_together_stay_small():
    assert sum(file.stat().st_size for file in WEIGHTS.iterdir()) <= 48e6


@pytest.mark.parametrize("name", CAST)
def test_the_photos_that_ship_are_of_their_character(name):
    """Pixel for pixel what the world draws, up to what differs between releases of OpenCV."""
    shipped, seed = load_photos(PHOTOS / name), list(CAST).index(name)
    for photo, render in zip(shipped, photos(member(name), seed), strict=True):
        inside = render.mask == 255
        difference = photo.image.numpy()[inside] * 255 - render.image[inside].astype(float)
        assert np.abs(difference).mean() < 1
