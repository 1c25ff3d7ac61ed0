"""How the demo model is trained and measured: stopping changes nothing, and figures can be low as well as high."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn

from demo import evaluate, evaluate_motion, measure, train, world
from demo.muon import Muon, orthogonalised
from demo.people import stranger
from demo.places import PLACES
from demo.reader import AttributeReader, Reading
from demo.shots import random_clip
from demo.stages import pack
from demo.stages.image import SCHEDULE, SNR_LIMIT, denoising_loss
from demo.stages.motion import config as motion_config
from demo.stages.text import TextModel
from demo.tensors import as_tensor
from demo.train import Draws, Stage, adamw, muon
from demo.weights import load_eyes
from vcd_core.motion import MotionModule
from vcd_core.standalone.config import DEMO
from vcd_core.vision import DrawnFaceDetector, Face


class Killed(Exception):
    """Stands for SIGKILL."""


def line_stage(kill_at: int | None = None, **options) -> Stage:
    """Fits a line to noisy points."""
    calls = 0

    def loss(module, draws):
        nonlocal calls
        calls += 1
        if calls == kill_at:
            raise Killed
        x = torch.randn(4, 1, generator=draws.torch)
        return (module(x) - 3 * x - draws.numpy.normal()).square().mean(), {}

    torch.manual_seed(0)
    return Stage(nn.Linear(1, 1), loss, lambda module, folder: {}, steps=9, learning_rate=0.1, warmup=3, **options)


@pytest.mark.parametrize(("kill_at", "optimizers"), [*((step, adamw) for step in range(1, 10)), (5, muon)])
def test_a_training_killed_at_any_step_ends_where_an_unbroken_one_does(tmp_path, monkeypatch, kill_at, optimizers):
    monkeypatch.setattr(train, "CHECKPOINT_SECONDS", -1)  # after every step
    for folder in ("whole", "broken"):
        (tmp_path / folder).mkdir()
    whole = train.train("line", line_stage(optimizers=optimizers), tmp_path / "whole")
    with pytest.raises(Killed):
        train.train("line", line_stage(kill_at, optimizers=optimizers), tmp_path / "broken")
    (tmp_path / "broken/.line.pt.1.part").write_bytes(b"half")
    resumed = train.train("line", line_stage(optimizers=optimizers), tmp_path / "broken")
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value)
    assert {path.name for path in (tmp_path / "broken").iterdir()} == {"line.pt", "line.jsonl"}


def test_a_training_out_of_time_says_so_to_the_next_stage(tmp_path, capsys):
    train.train("line", line_stage(), tmp_path, seconds=-1)
    train.averaged_weights(tmp_path, "line")
    assert "line.pt is at step 0 of 9" in capsys.readouterr().err
    train.train("line", line_stage(), tmp_path)
    train.averaged_weights(tmp_path, "line")
    assert capsys.readouterr().err == ""
    with pytest.raises(SystemExit, match=r"run python -m demo\.train circle first"):
        train.averaged_weights(tmp_path, "circle")


def test_training_goes_on_from_the_weights_that_ship(tmp_path, monkeypatch):
    """What was packed is unpacked, in half precision; a checkpoint that is there stays."""
    monkeypatch.setattr(pack, "WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr(pack, "PHOTOS", tmp_path / "photos")
    monkeypatch.setattr(pack, "CAST", {})
    monkeypatch.setattr(pack, "load_eyes", lambda: load_eyes(tmp_path / "weights"))
    trained, again = tmp_path / "trained", tmp_path / "again"
    text = TextModel()
    with torch.no_grad():
        text.encoder.get_input_embeddings().weight[-1] = 0.5  # the row of all words it was not taught
    modules = {
        "vae": AutoencoderKL(**DEMO.vae()),
        "text": text,
        "image": UNet2DConditionModel(**DEMO.unet()),
        "motion": MotionModule(motion_config()),
        "reader": AttributeReader(),
        "detector": DrawnFaceDetector(),
    }
    for folder in (trained, again):
        folder.mkdir()
    for name, module in modules.items():
        weights = module.state_dict()
        train.write_checkpoint(trained / f"{name}.pt", {"module": {}, "averaged": weights, "step": 9, "steps": 9})
    (again / "reader.pt").write_bytes(b"newer")
    pack.pack(trained)
    pack.unpack(again)
    for name in modules.keys() - {"reader"}:
        state = torch.load(again / f"{name}.pt", weights_only=True)
        expected = modules[name].state_dict()
        assert state["step"] == 0
        for part in ("module", "averaged"):
            assert state[part].keys() == expected.keys()
            for key, value in state[part].items():
                assert torch.equal(value, expected[key].half().float() if value.is_floating_point() else expected[key])
    assert (again / "reader.pt").read_bytes() == b"newer"
    line = train.train("line", line_stage(), again)
    weights = {"module": line.state_dict(), "averaged": line.state_dict(), "step": 0, "steps": 0}
    train.write_checkpoint(again / "line.pt", weights)
    more = train.train("line", line_stage(), again)
    assert not torch.equal(more.weight, line.weight)


def test_zeros_that_stand_in_for_weights_are_not_trained_on(tmp_path, monkeypatch):
    """Nothing can be learned from them: every gradient behind them is nothing."""
    zeros = MotionModule(motion_config())
    for weight in zeros.parameters():
        torch.nn.init.zeros_(weight)
    monkeypatch.setattr(pack, "load_demo_motion", lambda folder: zeros)
    pack.unpack(tmp_path)
    assert not (tmp_path / "motion.pt").exists()
    assert (tmp_path / "image.pt").exists()


@pytest.mark.parametrize("shape", [(12, 12), (5, 40), (40, 5)])
def test_muon_turns_a_gradient_into_a_matrix_of_like_singular_values(shape):
    u, values, v = torch.linalg.svd(torch.randn(shape, generator=torch.Generator().manual_seed(0)), full_matrices=False)
    spread = torch.logspace(0, -1.5, len(values))
    made = orthogonalised(u * spread @ v)
    along = u.T @ made @ v.T
    assert ((along.diag() > 0.6) & (along.diag() < 1.3)).all()
    assert (along - along.diag().diag()).abs().max() < 1e-4


def test_muon_is_torchs_own_in_full_precision():
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(8, 24)) for _ in range(2))
    optimizers = [
        Muon([ours], lr=0.01, weight_decay=0.1),
        torch.optim.Muon([theirs], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    ]
    for _ in range(5):
        ours.grad = torch.randn(8, 24, generator=generator)
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert (ours - 1).norm() > 0.05
    assert (ours - theirs).norm() < 0.03 * (ours - 1).norm()  # theirs multiplies in bfloat16


def test_noise_levels_are_drawn_as_often_as_min_snr_weighs_them():
    """A network that answers with the noise level shows which were drawn."""
    seen = []

    class Recorder(nn.Module):
        def forward(self, x, timesteps, context):
            seen.append(timesteps.clone())
            return type("Output", (), {"sample": x})

    for step in range(400):
        denoising_loss(Recorder(), torch.zeros(16, 4, 2, 2), torch.zeros(16, 1, 1), Draws(0, step))
    counts = torch.bincount(torch.cat(seen), minlength=1000).double().view(20, 50).sum(1)
    weight = torch.minimum(1 / SCHEDULE.sigmas**2, torch.tensor(SNR_LIMIT)) * SCHEDULE.sigmas**2
    expected = weight.double().view(20, 50).sum(1) / weight.sum() * counts.sum()
    assert ((counts - expected).abs() < 3.5 * expected.sqrt()).all()
    timesteps = torch.stack(seen).double()
    independent = timesteps.std() / 16**0.5
    assert timesteps.mean(1).std() < 0.3 * independent  # a batch spreads evenly


# --- evaluation -----------------------------------------------------------------------------------------


def readings(look, place, count=10):
    return [Reading(look, True, place) for _ in range(count)]


def observed(seen):
    """Four characters whose pictures show `seen(number, way)` in the right places."""
    places = [next(place for place in PLACES if place in prompt) for prompt in measure.PROMPTS]
    return {
        number: {way: [Reading(seen(number, way), True, place) for place in places] for way in evaluate.WAYS}
        for number in range(4)
    }


def test_perfect_tokens_score_one_and_useless_ones_nothing():
    def perfect(number, way):
        look = evaluate.character(number)
        return stranger(look.noun, 7) if way == "noun" else look

    figures = evaluate.summary(observed(perfect), np.random.default_rng(0))
    assert figures["share of the way from noun to caption"] == pytest.approx(1)
    assert (figures["share, low"], figures["share, high"]) == (pytest.approx(1), pytest.approx(1))
    assert figures["similarity by token"] == figures["ranked first by token"] == figures["place right by token"] == 1
    assert figures["ranked first by noun"] < 1

    useless = evaluate.summary(
        observed(lambda number, way: perfect(number, "noun" if way == "token" else way)), np.random.default_rng(0)
    )
    assert useless["share of the way from noun to caption"] == pytest.approx(0)


def test_pictures_without_a_face_and_in_the_wrong_place_count_as_nothing():
    nobody = {number: {way: readings(None, "in a library") for way in evaluate.WAYS} for number in range(4)}
    for number, ways in nobody.items():
        ways["caption"] = readings(evaluate.character(number), "in a library")
    figures = evaluate.summary(nobody, np.random.default_rng(0))
    for what in ("similarity", "ranked first", "place right"):
        assert figures[f"{what} by token"] == 0


def test_the_interval_is_about_characters_and_holds_the_figure():
    def half(number, way):
        look = evaluate.character(number)
        return look if way == "caption" or (way == "token" and number % 2) else stranger(look.noun, 7)

    figures = evaluate.summary(observed(half), np.random.default_rng(0))
    low, value, high = (
        figures[name] for name in ("share, low", "share of the way from noun to caption", "share, high")
    )
    assert low < value < high
    assert high - low > 0.3


def test_what_is_out_of_sight_is_not_asked_for():
    look = next(look for seed in range(99) if (look := stranger("robot", seed)).hair == "antenna")
    shot = random_clip(np.random.default_rng(2), "stand", 1, "on a beach", "portrait")[0]
    seen, cut = (world.render(look, replace(shot, y=y, unit=0.2)) for y in (0.5, 0.1))
    keeps_all = SimpleNamespace(encode=lambda images: images, decode=lambda latents: latents)
    assert evaluate.is_visible(keeps_all, seen, "hair")
    assert not evaluate.is_visible(keeps_all, cut, "hair")
    assert evaluate.is_visible(keeps_all, cut, "eyes") == (look.glasses != "sunglasses")
    woman = replace(
        stranger("woman", 1), hair="bun", brows="thick", glasses="none", hat="none", hair_colour=(38, 32, 38)
    )
    brows = world.render(woman, replace(shot, unit=0.13))
    wipes_all = SimpleNamespace(encode=lambda images: 0 * images, decode=lambda latents: latents)
    assert evaluate.is_visible(keeps_all, brows, "brows")
    assert not evaluate.is_visible(wipes_all, brows, "brows")


class KnownFaces:
    """A detector that is told where the face of each frame is."""

    def __init__(self, boxes):
        self.boxes = boxes

    def detect(self, clip):
        return [[Face(box, 1.0, torch.zeros(5, 2))] if box else [] for box in self.boxes]


def moved(*boxes):
    return evaluate_motion.statistics(torch.rand(len(boxes), 3, 8, 8), KnownFaces(boxes))


def test_travel_is_in_face_widths_and_growth_in_ratios():
    still = moved(*[(10, 10, 20, 20)] * 4)
    assert still["travel x"] == still["travel y"] == still["growth"] == 0
    walk = moved(*[(10 + step, 10, 20 + step, 20) for step in (-3, -1, 1, 3)])
    assert walk["travel x"] == pytest.approx(5**0.5 / 10)
    assert walk["travel y"] == 0
    zoom = moved(*[(50 - side, 50 - side, 50 + side, 50 + side) for side in (10, 20, 10, 20)])
    assert zoom["growth"] == pytest.approx(np.log(2) / 2)
    assert zoom["travel x"] == 0


def test_a_clip_whose_face_is_lost_has_no_travel():
    box = (10, 10, 20, 20)
    assert np.isnan(moved(box, None, None, box)["travel x"])
    assert moved(box, box, box, None)["travel x"] == 0


def test_smoothness_and_change_are_those_of_the_frames():
    torch.manual_seed(0)
    frame = torch.rand(3, 8, 8)
    box = (10, 10, 20, 20)
    frozen = evaluate_motion.statistics(frame.expand(3, -1, -1, -1), KnownFaces([box] * 3))
    assert frozen["change"] == 0
    assert frozen["smoothness"] == pytest.approx(1)
    brighter = torch.stack([frame * 0.5, frame * 0.5 + 0.25])
    assert evaluate_motion.statistics(brighter, KnownFaces([box] * 2))["smoothness"] == pytest.approx(1)
    assert evaluate_motion.statistics(brighter, KnownFaces([box] * 2))["change"] == pytest.approx(0.25)


def test_the_worlds_walk_travels_and_its_zoom_grows():
    found = {}
    for action in ("walk", "zoom", "stand"):
        rng = np.random.default_rng(1)
        shots = random_clip(rng, action, 16, "on a beach", "half")
        renders = [world.render(stranger("woman", 5), shot) for shot in shots]
        found[action] = evaluate_motion.statistics(
            as_tensor([one.image for one in renders]), KnownFaces([one.face_box for one in renders])
        )
    assert found["walk"]["travel x"] > 5 * found["stand"]["travel x"]
    assert found["zoom"]["growth"] > 5 * found["stand"]["growth"]


def test_kept_readings_are_not_those_of_other_weights_or_settings(monkeypatch):
    first = measure.fingerprint(["demo-model.safetensors"], 300)
    assert measure.fingerprint(["demo-model.safetensors"], 300) == first
    assert measure.fingerprint(["demo-model.safetensors"], 200) != first
    assert measure.fingerprint(["demo-motion.safetensors"], 300) != first
    monkeypatch.setattr(measure, "CFG", measure.CFG + 1)
    assert measure.fingerprint(["demo-model.safetensors"], 300) != first
