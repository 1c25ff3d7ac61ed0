"""An ID token, and files of it as every tool writes them."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from vcd_core.identity import IDToken, make_thumbnail

VECTORS = torch.randn(4, 768, generator=torch.Generator().manual_seed(0))
PICTURE = make_thumbnail(torch.linspace(0, 1, 96 * 64 * 3).view(64, 96, 3))
TOKEN = IDToken("ava", VECTORS, "woman", 200, "SD15", "2026-01-31", "0a1b", "batch 4, seed 0", (0.5, 0.25), PICTURE)


def parameters(**given: torch.Tensor) -> nn.ParameterDict:
    return nn.ParameterDict({key: nn.Parameter(value) for key, value in given.items()})


def parameters_of_2022(**given: torch.Tensor) -> nn.ParameterDict:
    """As PyTorch 1.11 wrote them."""
    old = parameters(**given)
    del vars(old)["_keys"]
    return old


A1111 = {"string_to_token": {"*": 265}, "name": "x", "step": 199, "sd_checkpoint": None, "sd_checkpoint_name": "v1-5"}
LAYOUTS = {
    "ours.safetensors": {"clip_l": VECTORS},
    "a1111.pt": {"string_to_param": {"*": VECTORS}, **A1111},
    "trained.pt": {"string_to_param": {"*": nn.Parameter(VECTORS)}, **A1111},
    "a1111.bin": {"string_to_param": {"*": VECTORS}},
    "first.pt": {"string_to_param": parameters(cat=VECTORS), "string_to_token": {"cat": torch.tensor(2368)}},
    "first_of_2022.pt": {"string_to_param": parameters_of_2022(cat=VECTORS)},
    "kohya.safetensors": {"emb_params": VECTORS},
    "kohya.pt": {"emb_params": VECTORS},
    "diffusers.safetensors": {"<cat-toy>": VECTORS},
    "learned_embeds.bin": {"<cat-toy>": VECTORS},
}


def write(content: object, path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    return path
