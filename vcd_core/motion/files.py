"""Reading motion modules from the files people have, and saying what is wrong with the others."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from ..files import read_tensors
from .module import MotionModule, config_from_state_dict
from .transformer import OPERATIONS, MotionConfig, sinusoidal_positions

SD15_CHANNELS = (320, 640, 1280, 1280)
V1_FRAMES = 24
# Files without positions (AnimateLCM, some conversions) mean the sinusoidal table, as far as the
# published modules with one go.
FRAMES_WITHOUT_TABLE = 32

# diffusers' MotionAdapter names -> AnimateDiff's
_ADAPTER_NAMES = {
    ".transformer_blocks.0.norm1.": ".transformer_blocks.0.norms.0.",
    ".transformer_blocks.0.norm2.": ".transformer_blocks.0.norms.1.",
    ".transformer_blocks.0.norm3.": ".transformer_blocks.0.ff_norm.",
    ".transformer_blocks.0.attn1.": ".transformer_blocks.0.attention_blocks.0.",
    ".transformer_blocks.0.attn2.": ".transformer_blocks.0.attention_blocks.1.",
}
# Parts of the UNet that training checkpoints carry along, unchanged, beside the motion module.
_BASE_UNET = ("resnets.", "attentions.", "downsamplers.", "upsamplers.")
_BASE_UNET_ROOTS = ("conv_in.", "conv_out.", "conv_norm_out.", "time_embedding.", "time_proj.")

_LOOKS_LIKE = (  # the first part of a name that occurs in any key decides
    ("temporal_attentions.", "a HotShot-XL module, which is for SDXL"),
    ("controlnet_", "a SparseCtrl or ControlNet model: load it with a ControlNet loader"),
    ("control_model.", "a ControlNet model: load it with a ControlNet loader"),
    ("conditioner.embedders.", "an SDXL checkpoint: load it as a checkpoint"),
    ("model.diffusion_model.", "a Stable Diffusion checkpoint: load it as a checkpoint"),
    ("lora", "a LoRA: load it with a LoRA loader"),
    ("string_to_param", "a textual inversion embedding"),
    ("emb_params", "a textual inversion embedding"),
    ("clip_l", "a textual inversion embedding"),
    ("decoder.conv_in.", "a VAE: load it with a VAE loader"),
    ("text_model.", "a text encoder"),
    ("attentions.", "an image UNet without motion modules"),
)


def load_motion_module(path: str | Path, *, operations=OPERATIONS, dtype=None, device=None) -> MotionModule:
    """The motion module in a file, in evaluation mode, in the file's precision unless `dtype` is given.

    Reads what `read_motion_state_dict` reads and raises what it raises. On the CPU, without `dtype`, the
    weights stay mapped from the file: they exist once, and changing them does not change the file.

    Args:
        path: the file.
        operations: where the layers come from: a namespace like torch.nn.
        dtype, device: of the weights.
    """
    state_dict, config = read_motion_state_dict(path)
    for key in state_dict:
        state_dict[key] = state_dict[key].to(device=device, dtype=dtype)
    module = MotionModule(config, operations=operations, device="meta")
    module.load_state_dict(state_dict, assign=True)
    return module.eval()


def read_motion_state_dict(path: str | Path) -> tuple[dict[str, Tensor], MotionConfig]:
    """The weights of an SD1.5-family motion module by AnimateDiff's names, and their config.

    Reads .safetensors and torch's .ckpt, .pt, .pth, .bin (tensors only, never code), of any float precision,
    in AnimateDiff's layout (also inside "state_dict", also with a "module." prefix, also beside the UNet it
    was trained in) and in that of diffusers' MotionAdapter. The head count is 8 unless a safetensors file's
    metadata says otherwise ("num_attention_heads" or "heads").

    Raises:
        ValueError: the file is missing, damaged, could run code, or holds something else, such as a v1 or an
            SDXL module; the message says which, and what to do.
    """
    path = Path(path)
    tensors, metadata = read_tensors(path)
    if not any(".motion_modules." in key for key in tensors) or any(
        part in key for key in tensors for part in ("lora", "controlnet_")
    ):
        raise ValueError(
            f"{path.name} is not a motion module; it looks like {_looks_like(tensors)}. Use an AnimateDiff v2 or v3 "
            "module for SD1.5 here"
        )

    tensors = {animatediff_name(key): value for key, value in tensors.items() if not _is_base_unet(key)}
    split_shared_positions(tensors)
    conv_in = tensors.pop("conv_in.weight", None)
    if conv_in is not None and conv_in.shape[1] != 4:
        raise ValueError(
            f"{path.name} comes with an input layer of {conv_in.shape[1]} channels (PIA or a model like it), so"
            " its motion module does not work alone: use an AnimateDiff v2 or v3 module"
        )
    if odd := [key for key, value in tensors.items() if not value.is_floating_point() or value.ndim == 0]:
        raise ValueError(
            f"{path.name} has weights that are no tables of floating-point numbers, such as {odd[0]}: use the module "
            "in float32, float16 or bfloat16"
        )
    _add_missing_positions(tensors)
    try:
        config = config_from_state_dict(tensors, _heads(metadata))
    except ValueError as error:
        raise ValueError(
            f"{path.name} has motion modules, but not of a kind that is known here: {error}. Use an AnimateDiff"
            " v2 or v3 module for SD1.5"
        ) from error
    if config.channels == SD15_CHANNELS[:3]:
        raise ValueError(f"{path.name} is a motion module for SDXL: use an AnimateDiff v2 or v3 one for SD1.5")
    if config.channels == SD15_CHANNELS and not config.mid_block and config.max_frames == V1_FRAMES:
        raise ValueError(
            f"{path.name} is an AnimateDiff v1 module ({V1_FRAMES} positions, no middle block). v1 was trained in"
            " a UNet whose every GroupNorm ran over whole clips, so it does not fit an ordinary UNet: use a v2"
            " (mm_sd_v15_v2) or v3 (v3_sd15_mm) module"
        )
    return tensors, config


def animatediff_name(key: str) -> str:
    """AnimateDiff's name of a motion module's tensor that may go by diffusers' name for it."""
    if ".motion_modules." not in key or ".temporal_transformer." in key:
        return key
    for theirs, ours in _ADAPTER_NAMES.items():
        key = key.replace(theirs, ours)
    block, slot, rest = key.partition(".motion_modules.")
    index, _, rest = rest.partition(".")
    return f"{block}{slot}{index}.temporal_transformer.{rest}"


def split_shared_positions(tensors: dict[str, Tensor]) -> None:
    """Replaces diffusers' one table of positions a block by AnimateDiff's two, one for each attention."""
    for key in [key for key in tensors if key.endswith(".pos_embed.pe")]:
        table = tensors.pop(key)
        for attention in range(2):
            tensors[key.replace(".pos_embed.", f".attention_blocks.{attention}.pos_encoder.")] = table


def _add_missing_positions(tensors: dict[str, Tensor]) -> None:
    if any(key.endswith("pos_encoder.pe") for key in tensors):
        return
    for key in [key for key in tensors if key.endswith(".to_q.weight") and ".attention_blocks." in key]:
        query = tensors[key]
        table = sinusoidal_positions(FRAMES_WITHOUT_TABLE, query.shape[1]).to(query)
        tensors[key.removesuffix("to_q.weight") + "pos_encoder.pe"] = table


def _heads(metadata: Mapping[str, str]) -> int:
    written = metadata.get("num_attention_heads", metadata.get("heads", "8"))
    if not written.isdecimal() or int(written) == 0:
        raise ValueError(f"its metadata gives {written!r} attention heads")
    return int(written)


def _is_base_unet(key: str) -> bool:
    if ".motion_modules." in key or key == "conv_in.weight":
        return False
    block, _, rest = key.partition("_block")
    if key.startswith(_BASE_UNET_ROOTS):
        return True
    return block in ("down", "up", "mid") and rest.lstrip("s.0123456789").startswith(_BASE_UNET)


def _looks_like(keys: Iterable[str]) -> str:
    keys = list(keys)
    if any("motion_modules" in key and "lora" in key for key in keys):
        return "a motion LoRA: load it with the motion LoRA loader"
    for part, description in _LOOKS_LIKE:
        if any(part in key for key in keys):
            return description
    return f"something else, with weights such as {', '.join(keys[:3])}" if keys else "a file without weights"
