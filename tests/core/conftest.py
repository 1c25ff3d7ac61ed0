import functools
import shutil
import socket
from pathlib import Path

import pytest
import random_models
import torch
from anywhere import PLAN, PRETENDED, Anywhere, Pretending
from narrow_checkpoint import CONFIG, load_narrow
from narrow_model import NARROW
from random_pipeline import random_model, random_motion_module
from safetensors.torch import save_file

from benchmarks.clips import learned, plan
from vcd_core.standalone import cli, console
from vcd_core.standalone.controlnet import load_controlnet

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def one_thread():
    """Models of a few channels are slower on several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def model():
    """A StableDiffusion of random weights, which tests leave as it is."""
    return random_model(0, NARROW)


@pytest.fixture(scope="session")
def motion():
    """A motion module for it."""
    return random_motion_module(0, NARROW)


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """A checkpoint, a ControlNet, a motion module, a motion LoRA and photos, all narrow, in the published layouts."""
    folder = tmp_path_factory.mktemp("files")
    sizes = {"CHANNELS": 32, "LEVELS": (1, 1, 1, 1), "TEXT_WIDTH": 32, "TEXT_LAYERS": 2, "VAE_CHANNELS": 32}
    collect, draw = random_models.collect, random_models.Drawer(0)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in sizes.items():
            patch.setattr(random_models, name, value)
        checkpoint = {
            **collect(random_models.random_unet(draw), "model.diffusion_model."),
            **collect(random_models.random_text_encoder(draw), "cond_stage_model.transformer.text_model."),
            **collect(random_models.random_vae(draw), "first_stage_model."),
        }
        controlnet = collect(random_models.random_controlnet(draw), "control_model.")
        motion = collect(random_models.random_motion_module(draw, True, 0.5))
        lora = collect(random_models.random_motion_lora(draw, 2, True, 0.5))
    for name, tensors in {"sd15": checkpoint, "motion": motion, "lora": lora, "controlnet": controlnet}.items():
        save_file(tensors, folder / f"{name}.safetensors")
    photos = folder / "photos"
    photos.mkdir()
    for number in (1, 2, 3):
        for suffix in (".png", ".mask.png"):
            shutil.copy(ROOT / f"demo/photos/mia/{number}{suffix}", photos)
    return folder


@pytest.fixture
def vcd(monkeypatch, capsys, tmp_path):
    """Runs the command line on narrow checkpoints inside tmp_path: exit code, stdout, stderr."""
    monkeypatch.setattr(console, "load_checkpoint", load_narrow)
    monkeypatch.setattr(console, "load_controlnet", functools.partial(load_controlnet, config=CONFIG))
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        out = capsys.readouterr()
        return code, out.out, out.err

    return run


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def pretended(monkeypatch):
    """The identity benchmark's methods, which learn at once; `Pretending.learned` tells what."""
    monkeypatch.setattr(plan, "METHODS", PRETENDED)
    monkeypatch.setattr(learned, "METHODS", PRETENDED)
    monkeypatch.setattr(Pretending, "learned", [])


@pytest.fixture
def planned(tmp_path):
    """Reads a plan of the identity benchmark, whose results lie in tmp_path / "out"."""

    def make(text=PLAN, world=None):
        file = tmp_path / "plan.yaml"
        file.write_text(f"out: {tmp_path / 'out'}\n{text}", encoding="utf-8")
        return plan.plan_of(plan.read_source(file), world or Anywhere())

    return make
