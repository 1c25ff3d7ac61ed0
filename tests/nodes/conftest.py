"""One real ComfyUI server a host, shared by all tests that ask for `server`."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import random_models
from comfyui_hosts import PACK, ROOT, Host, find_hosts, search_places
from comfyui_server import Server, start_server
from demo_weights import write_random_demo
from PIL import Image
from real_photos import portrait_crops

from vcd_core.standalone.weights_folder import MANIFEST

HOSTS = find_hosts()


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Without a ComfyUI not even the modules are imported: many of them import from it."""
    return True if not HOSTS and collection_path.name.startswith("test_") else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not HOSTS:
        terminalreporter.write_line(f"SKIPPED tests/nodes: no ComfyUI found in {search_places()}", yellow=True)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if not HOSTS and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.nodes)


@pytest.fixture(scope="session", params=HOSTS, ids=[f"comfyui-{host.version}" for host in HOSTS])
def host(request: pytest.FixtureRequest) -> Host:
    """Each ComfyUI found, one after the other."""
    return request.param


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our pack; a copy with random weights for the demo model, where there are no trained ones yet."""
    if (ROOT / "demo/weights" / MANIFEST).is_file():
        return ROOT
    copy = tmp_path_factory.mktemp("pack") / PACK
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "out", "tests", "benchmarks"))
    write_random_demo(copy / "demo/weights")
    return copy


@pytest.fixture(scope="session")
def server(host: Host, pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The host's server with our pack. A test that wants other arguments calls `start_server` itself."""
    with start_server(host, tmp_path_factory.mktemp(f"comfyui-{host.version}-"), packs=(pack,)) as running:
        yield running


@pytest.fixture(scope="session")
def checkpoint(server: Server) -> str:
    """The name of a full-size SD1.5 checkpoint of random weights, for CheckpointLoaderSimple."""
    return server.place("checkpoints", random_models.sd15_checkpoint(), "sd15-random.safetensors")


@pytest.fixture(params=["v3", "v2"])  # of a session they would group the tests by module and restart the servers
def motion_module(server: Server, request: pytest.FixtureRequest) -> str:
    """The name of a motion module of random weights, without (v3) or with (v2) a middle block."""
    file = random_models.motion_module(request.param)
    return server.place("animatediff_models", file, f"motion-{request.param}-random.safetensors")


@pytest.fixture(scope="session")
def controlnet(server: Server) -> str:
    """The name of a ControlNet of random weights, for ControlNetLoader."""
    return server.place("controlnet", random_models.controlnet(), "controlnet-random.safetensors")


@pytest.fixture(scope="session")
def motion_lora(server: Server) -> str:
    """The name of a motion LoRA of random weights for the v2 module."""
    return server.place("animatediff_motion_lora", random_models.motion_lora(), "motion-lora-random.safetensors")


@pytest.fixture(scope="session")
def photos(server: Server) -> str:
    """A folder of one real person as phones and cameras leave it: rotated, grey, cut out, 16 bit, of many sizes."""
    folder = server.input_directory / "people" / "ava"
    folder.mkdir(parents=True, exist_ok=True)
    upright, grey, cut_out, deep, _ = portrait_crops(5)
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.rotate(90, expand=True).save(folder / "IMG_2.JPG", exif=exif)
    grey.convert("L").save(folder / "IMG_10.png")
    alpha = Image.new("L", cut_out.size)
    alpha.paste(255, (40, 10, cut_out.width - 40, cut_out.height))
    cut_out.putalpha(alpha)
    cut_out.save(folder / "IMG_3.png")
    Image.fromarray(np.asarray(deep.convert("L")).astype(np.uint16) * 257).save(folder / "IMG_4.png")
    (folder / "notes.jpg.txt").write_text("not a photo")
    return "people/ava"
