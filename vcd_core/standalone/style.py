"""A style as a LoRA for the UNet, in the layout (kohya's) that ComfyUI and others load."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..files import read_tensors
from ..motion.lora import LowRank

PREFIX = "lora_unet_"


def style_tensors(style: Mapping[str, LowRank]) -> dict[str, Tensor]:
    """The content of a style's file.

    Args:
        style: by the name of the layer in diffusers' UNet: "mid_block.attentions.0.proj_in".
    """
    tensors = {}
    for layer, (up, down, alpha) in style.items():
        name = _file_name(layer)
        tensors[f"{name}.lora_up.weight"] = up
        tensors[f"{name}.lora_down.weight"] = down
        tensors[f"{name}.alpha"] = torch.tensor(float(len(down) if alpha is None else alpha))
    return tensors


@torch.no_grad()
def merge_style(unet: nn.Module, path: Path) -> None:
    """Adds the style in a file to the UNet's weights, in place.

    Args:
        unet: diffusers' UNet2DConditionModel.

    Raises:
        ValueError: the file is damaged, or the style was made for another UNet.
    """
    tensors, _ = read_tensors(path)
    layers = {_file_name(name): layer for name, layer in unet.named_modules()}
    changes = []
    for name in sorted({key.partition(".")[0] for key in tensors}):
        up, down = (tensors.get(f"{name}.lora_{side}.weight") for side in ("up", "down"))
        weight = getattr(layers.get(name), "weight", None)
        if up is None or down is None or weight is None or weight.numel() != len(up) * down[0].numel():
            raise ValueError(f"{path.name} is no style for this UNet: {name} does not fit it")
        alpha = tensors.get(f"{name}.alpha")
        delta = LowRank(up.flatten(1), down.flatten(1), None if alpha is None else float(alpha)).delta()
        changes.append((weight, delta))
    for weight, delta in changes:
        weight += delta.view_as(weight).to(weight.device)


def _file_name(layer: str) -> str:
    return PREFIX + layer.replace(".", "_")
