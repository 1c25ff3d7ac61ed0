"""Weights named by diffusers and transformers, renamed to the published (LDM) layout: the way back of `checkpoint`."""

import re
from collections.abc import Mapping

from torch import Tensor

from .config import ModelConfig

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
TEXT_PREFIX = "cond_stage_model.transformer."

_UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET_PLACE = re.compile(r"(?:(down|up)_blocks\.(\d+)|mid_block)\.(resnets|attentions|\w+samplers)\.(\d+)\.(.+)")
_VAE_NAMES = (
    (r"mid_block\.attentions\.0\.", "mid.attn_1."),
    (r"attn_1\.group_norm\.", "attn_1.norm."),
    (r"attn_1\.to_([qkv])\.", r"attn_1.\1."),
    (r"attn_1\.to_out\.0\.", "attn_1.proj_out."),
    (r"mid_block\.resnets\.0\.", "mid.block_1."),
    (r"mid_block\.resnets\.1\.", "mid.block_2."),
    (r"(down|up)_blocks\.(\d+)\.resnets\.", r"\1.\2.block."),
    (r"(down|up)_blocks\.(\d+)\.(down|up)samplers\.0\.", r"\1.\2.\3sample."),
    (r"conv_shortcut\.", "nin_shortcut."),
    (r"conv_norm_out\.", "norm_out."),
)


def unet_to_ldm(weights: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """The state dict of diffusers' UNet2DConditionModel under the names it has in a checkpoint."""
    return {UNET_PREFIX + _unet_name(name, config): value for name, value in weights.items()}


def vae_to_ldm(weights: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """The state dict of diffusers' AutoencoderKL under the names, and in the shapes, that it has in a checkpoint."""
    renamed = {}
    for name, value in weights.items():
        name = _vae_name(name, config)
        is_projection = ".attn_1." in name and value.ndim == 2
        renamed[VAE_PREFIX + name] = value[:, :, None, None] if is_projection else value
    return renamed


def text_to_ldm(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of transformers' CLIPTextModel under the names it has in a checkpoint."""
    return {TEXT_PREFIX + name: value for name, value in weights.items()}


def _unet_name(name: str, config: ModelConfig) -> str:
    layer, _, kind = name.rpartition(".")
    if layer in _UNET_ENDS:
        return f"{_UNET_ENDS[layer]}.{kind}"
    side, level, part, index, rest = _UNET_PLACE.fullmatch(layer).groups()
    level, index = int(level or 0), int(index)
    first = level * (config.unet_blocks + 1)  # of the level's blocks; the last one down holds only the downsampler
    if part == "resnets":
        rest = _UNET_RESNET[rest]
    if side is None:
        place = f"middle_block.{2 * index if part == 'resnets' else 1}"
    elif part == "downsamplers":
        place, rest = f"input_blocks.{1 + first + config.unet_blocks}.0", "op"
    elif part == "upsamplers":
        place = f"output_blocks.{first + config.unet_blocks}.{1 + config.attention[::-1][level]}"
    else:
        block = f"input_blocks.{1 + first + index}" if side == "down" else f"output_blocks.{first + index}"
        place = f"{block}.{0 if part == 'resnets' else 1}"
    return f"{place}.{rest}.{kind}"


def _vae_name(name: str, config: ModelConfig) -> str:
    outermost = len(config.vae_channels) - 1
    name = re.sub(r"(?<=up_blocks\.)\d+", lambda level: str(outermost - int(level[0])), name)  # counted from outside
    for ours, theirs in _VAE_NAMES:
        name = re.sub(ours, theirs, name)
    return name
