"""How much each method trains and stores for one subject, on Stable Diffusion 1.5: counted, nothing is loaded."""

import json
from collections.abc import Mapping

import torch
from torch import Tensor

from vcd_core.identity import Recipe
from vcd_core.standalone.config import SD15

from . import METHODS


def parameters_of(tensors: Mapping[str, Tensor]) -> int:
    return sum(value.numel() for value in tensors.values())


def bytes_of(tensors: Mapping[str, Tensor]) -> int:
    """Of the numbers alone; a file has some for its names too."""
    return sum(value.numel() * value.element_size() for value in tensors.values())


def sizes() -> list[tuple[str, int, int]]:
    """Method, trained parameters, and bytes in float32."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(**SD15.unet()).requires_grad_(False)
    noun, recipe = torch.ones(1, SD15.text_width), Recipe("woman")
    begun = {name: method().start(unet, noun, recipe) for name, method in METHODS.items()}
    return [(name, parameters_of(tensors), bytes_of(tensors)) for name, tensors in begun.items()]


def as_text() -> str:
    lines = [f"{'method':22}{'parameters':>14}{'file':>14}"]
    lines += [f"{name:22}{count:>14,}{readable(size):>14}" for name, count, size in sizes()]
    return "\n".join(lines)


def as_json() -> str:
    found = [{"method": name, "parameters": count, "bytes": size} for name, count, size in sizes()]
    return json.dumps({"name": "sizes", "methods": found})


def readable(size: float) -> str:
    """16,384 -> 16.0 KiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
