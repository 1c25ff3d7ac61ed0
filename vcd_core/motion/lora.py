"""Motion LoRA: small files that teach a motion module a camera movement or a manner of moving."""

import re
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ..files import read_tensors
from .files import animatediff_name
from .module import MotionModule


class LowRank(NamedTuple):
    """One weight's change: up @ down, (out, rank) @ (rank, in), times alpha / rank (1 without alpha)."""

    up: Tensor
    down: Tensor
    alpha: float | None

    def delta(self, strength: float = 1.0) -> Tensor:
        """strength · alpha/rank · up @ down, (out, in), float32."""
        scale = 1.0 if self.alpha is None else self.alpha / len(self.down)
        return strength * scale * (self.up.float() @ self.down.float())


def read_motion_lora(path: str | Path) -> dict[str, LowRank]:
    """The changes in a motion LoRA file, by the MotionModule parameter that each changes.

    Reads AnimateDiff's files (v2_lora_ZoomIn.ckpt and its like) and their diffusers and peft conversions,
    from .safetensors or torch files (tensors only, never code).

    Raises:
        ValueError: the file is missing, damaged, could run code, or is no motion LoRA.
    """
    path = Path(path)
    tensors, _ = read_tensors(path)
    pairs: dict[str, dict[str, Tensor]] = {}
    unknown = []
    for key, value in tensors.items():
        name, role = _parameter_and_role(key)
        if role is None:
            unknown.append(key)
        else:
            pairs.setdefault(name, {})[role] = value
    if not pairs or unknown:
        examples = ", ".join((unknown or list(tensors))[:3]) or "nothing"
        raise ValueError(
            f"{path.name} is not a motion LoRA: it holds {examples}. An image LoRA belongs in a LoRA loader,"
            " a motion module in the motion module loader"
        )

    lora = {}
    for name, pair in pairs.items():
        if "up" not in pair or "down" not in pair:
            raise ValueError(f"{path.name} has only one half of the pair for {name}: download it again")
        if pair["up"].ndim != 2 or pair["down"].ndim != 2 or pair["up"].shape[1] != len(pair["down"]):
            shapes = f"{tuple(pair['up'].shape)} and {tuple(pair['down'].shape)}"
            raise ValueError(f"{path.name} has factors for {name} that do not fit each other: {shapes}")
        alpha = pair.get("alpha")
        if alpha is not None and alpha.numel() != 1:
            raise ValueError(f"{path.name} has {alpha.numel()} numbers for the alpha of {name}: download it again")
        lora[name] = LowRank(pair["up"], pair["down"], None if alpha is None else float(alpha))
    return lora


def check_motion_lora(module: MotionModule, lora: dict[str, LowRank], called: str = "the motion LoRA") -> None:
    """Raises ValueError, which names it as `called`, if the LoRA was made for a module of another shape."""
    parameters = dict(module.named_parameters())
    for name, change in lora.items():
        wanted = (len(change.up), change.down.shape[1])
        if name not in parameters:
            raise ValueError(
                f"{called} changes {name}, which this motion module does not have: use it with the"
                " module version it was made for (AnimateDiff's own are for v2)"
            )
        if (shape := tuple(parameters[name].shape)) != wanted:
            raise ValueError(
                f"{called} changes {name} by {wanted}, but the weight is {shape}: use it with the"
                " module it was made for"
            )


@torch.no_grad()
def merge_motion_lora(
    module: MotionModule, lora: dict[str, LowRank], strength: float, called: str = "the motion LoRA"
) -> None:
    """Adds strength times the LoRA to the module's weights, in place; −strength undoes it up to rounding.

    Raises:
        ValueError: the LoRA, which is named as `called`, was made for a module of another shape; the weights are
            untouched then.
    """
    check_motion_lora(module, lora, called)
    parameters = dict(module.named_parameters())
    for name, change in lora.items():
        weight = parameters[name]
        weight.copy_(weight.float() + change.delta(strength).to(weight.device))


_ROLES = {
    "lora_A": "down",
    "lora_B": "up",
    "lora_down": "down",
    "lora_up": "up",
    "lora.down": "down",
    "lora.up": "up",
}
_KEY = re.compile(
    r"(?P<layer>(?:down_blocks|up_blocks|mid_block)\..*motion_modules\..*?)"
    r"\.(?:(?P<role>lora_A|lora_B|lora_down|lora_up|lora\.down|lora\.up)(?:\.default)?\.weight|alpha)"
)


def _parameter_and_role(key: str) -> tuple[str, str | None]:
    """("….to_q.weight", "up") of "….processor.to_q_lora.up.weight"; no role for what is no motion LoRA's."""
    key = animatediff_name(key.removeprefix("unet."))
    key = re.sub(r"\.processor\.(\w+)_lora\.(down|up|alpha)", r".\1.lora.\2", key)
    key = key.replace(".lora.alpha", ".alpha")
    found = _KEY.fullmatch(key)
    if not found:
        return key, None
    layer = found["layer"]
    layer += ".0" if layer.endswith(".to_out") else ""
    return f"{layer}.weight", _ROLES[found["role"]] if found["role"] else "alpha"
