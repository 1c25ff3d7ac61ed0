"""Tests that run inside ComfyUI's own process, without its server.

`tests/nodes/test_in_comfyui.py` starts pytest on this folder once for every ComfyUI found and names the checkout in
VCD_COMFYUI. By itself the folder is not collected.
"""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMFYUI = os.environ.get("VCD_COMFYUI")

if COMFYUI:
    # ComfyUI first: its `nodes.py` must not be shadowed by our folder of that name.
    sys.path[:] = [COMFYUI, str(Path(__file__).parent), *(entry for entry in sys.path if Path(entry or ".") != ROOT)]
    sys.argv = ["main.py", "--cpu", "--base-directory", os.environ["VCD_COMFYUI_BASE"]]
    import comfy.options
    import torch

    torch.set_num_threads(1)  # the models are so narrow that threads cost more than they bring
    comfy.options.enable_args_parsing()
    spec = importlib.util.spec_from_file_location(
        "vcd_pack", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    sys.modules["vcd_pack"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["vcd_pack"])
else:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def narrow():
    """A narrow MODEL and CLIP of the Stable Diffusion 1.5 architecture, with random weights that ComfyUI loaded."""
    import narrow_model

    torch.manual_seed(0)
    with torch.inference_mode():  # as inside a node
        return narrow_model.model(), narrow_model.clip()


@pytest.fixture
def motion_file(tmp_path):
    """A motion module that fits `narrow`, with random weights."""
    import narrow_model
    import torch
    from safetensors.torch import save_file
    from vcd_pack.vcd_core.motion import MotionConfig, MotionModule

    channels = tuple(narrow_model.UNET["model_channels"] * times for times in narrow_model.UNET["channel_mult"])
    torch.manual_seed(0)
    with torch.inference_mode(False):
        module = MotionModule(MotionConfig(channels, (2, 2, 2), (3, 3, 3), mid_block=True, max_frames=16, heads=4))
        path = tmp_path / "narrow.safetensors"
        save_file({k: v.clone() for k, v in module.state_dict().items()}, path, metadata={"heads": "4"})
    return path
