"""What the registry hands out, the repository without what .comfyignore names, is enough for ComfyUI."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from comfyui_hosts import PACK, ROOT
from comfyui_server import Server, start_server
from graphs import shipped


def listed(*options: str) -> set[str]:
    """Files that git knows."""
    answer = subprocess.run(["git", "ls-files", "-c", *options], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(answer.stdout.splitlines())


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    folder = tmp_path_factory.mktemp("packed") / PACK
    for name in listed() - listed("-i", "--exclude-from=.comfyignore"):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def installed(host, packed, tmp_path_factory) -> Iterator[Server]:
    with start_server(host, tmp_path_factory.mktemp("installed"), packs=(packed,)) as running:
        yield running


def test_development_stays_at_home(packed):
    assert {path.name for path in packed.iterdir()} >= {"__init__.py", "nodes", "vcd_core", "web", "workflows", "demo"}
    assert not {"tests", "benchmarks", "scripts", "Makefile"} & {path.name for path in packed.iterdir()}
    assert not list((packed / "demo").rglob("*.py"))


def test_the_demo_learns_from_what_is_handed_out(installed):
    graph = shipped("demo_t2v").set("VCD_TrainIDToken", steps=1, batch_size=1).set("VCD_Sampler", steps=1)
    installed.queue(graph).check()


def test_the_page_s_part_the_help_and_the_chinese_names_come_along(installed):
    extensions = requests.get(f"{installed.url}/extensions", timeout=60).json()
    assert f"/extensions/{PACK}/js/vcd.js" in extensions
    for path in ("js/vcd.js", "vcd.css", "docs/VCD_Sampler.md"):
        assert requests.get(f"{installed.url}/extensions/{PACK}/{path}", timeout=60).ok
    assert "VCD_Sampler" in requests.get(f"{installed.url}/i18n", timeout=60).json()["zh"]["nodeDefs"]
