"""ControlNets (arXiv:2302.05543) beside a diffusers UNet: pictures that say where things are."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from ..files import read_tensors
from .checkpoint import with_weights
from .config import SD15, ModelConfig

_LOOKS_LIKE = (  # the first part of a name that occurs in any key decides
    ("lora_controlnet", "a ControlLoRA"),
    ("model.diffusion_model.", "a checkpoint"),
    ("motion_modules.", "a motion module"),
    ("lora", "a LoRA"),
    ("adapter.body.", "a T2I-Adapter"),
)
_FAMILY_OF_CONTEXT = {1024: "a ControlNet for Stable Diffusion 2", 2048: "a ControlNet for SDXL"}
_PREFIX = "control_model."


@dataclass(frozen=True)
class Control:
    """A ControlNet, diffusers' ControlNetModel, and how strongly it acts; 1 is as it was trained."""

    network: nn.Module
    strength: float = 1.0


@contextmanager
def controlled(unet: nn.Module, controls: Sequence[Control], hints: Sequence[Tensor]) -> Iterator[None]:
    """Within it every call of the UNet is told by the ControlNets what their hints show.

    Args:
        hints: for each ControlNet (F, 3, H, W) in [0, 1], RGB, eight times as high and wide as the latents; F frames as
            in a batch of the UNet.
    """

    def listen(_unet, arguments: tuple, options: dict):
        sample, timestep = arguments
        context = options["encoder_hidden_states"]
        below, middle = None, None
        for control, hint in zip(controls, hints, strict=True):
            said, said_middle = control.network(
                sample, timestep, context, hint.to(sample), conditioning_scale=control.strength, return_dict=False
            )
            below = said if below is None else [a + b for a, b in zip(below, said, strict=True)]
            middle = said_middle if middle is None else middle + said_middle
        return arguments, options | {
            "down_block_additional_residuals": below,
            "mid_block_additional_residual": middle,
        }

    hook = unet.register_forward_pre_hook(listen, with_kwargs=True) if controls else None
    try:
        yield
    finally:
        if hook is not None:
            hook.remove()


def load_controlnet(path: str | Path, config: ModelConfig = SD15, *, device: str = "cpu") -> nn.Module:
    """A ControlNet in the published layout or diffusers', in float32, frozen and in evaluation mode.

    Nothing is looked up on the network: the sizes come from `config`.

    Raises:
        ValueError: the file is missing, damaged, could run code, or is no whole ControlNet of this family.
    """
    from diffusers import ControlNetModel
    from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint

    path = Path(path)
    tensors, _ = read_tensors(path)
    _check_family(tensors, config, path.name)
    sizes = config.controlnet()
    tensors = {name.removeprefix(_PREFIX): value for name, value in tensors.items()}
    tensors = convert_controlnet_checkpoint(tensors, sizes)
    tensors = {name: value for name, value in tensors.items() if value is not None}  # as the converter leaves gaps
    try:
        return with_weights(lambda: ControlNetModel(**sizes), tensors, device)
    except ValueError as error:
        raise ValueError(f"{path.name} is not a whole ControlNet for Stable Diffusion 1.5: it {error}") from error


def _check_family(tensors: dict[str, Tensor], config: ModelConfig, name: str) -> None:
    """Raises ValueError that says what the file is; drops what files carry besides weights."""
    looks_like = next((kind for part, kind in _LOOKS_LIKE if any(part in key for key in tensors)), "")
    if not looks_like and tensors.pop("difference", None) is not None:
        looks_like = "the difference of a ControlNet to a checkpoint; use the whole ControlNet"
    if not looks_like and not any("zero_convs." in key or "controlnet_down_blocks." in key for key in tensors):
        looks_like = "something else"
    contexts = {value.shape[1] for key, value in tensors.items() if key.endswith("attn2.to_k.weight")}
    if not looks_like and contexts - {config.text_width}:
        width = max(contexts)
        looks_like = _FAMILY_OF_CONTEXT.get(width, f"a ControlNet of text width {width}")
    if looks_like:
        raise ValueError(f"{name} is not a ControlNet for Stable Diffusion 1.5; it looks like {looks_like}")
