"""Runs the tests of `tests/in_comfyui` inside every ComfyUI found."""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "in_comfyui"


def test_in_process(host, tmp_path):
    environment = {**host.environment(), "VCD_COMFYUI": str(host.path), "VCD_COMFYUI_BASE": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", str(FOLDER), "-q", "-p", "no:cacheprovider"]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    print(finished.stdout)
    assert finished.returncode == 0, finished.stdout + finished.stderr
