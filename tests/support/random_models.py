"""Full-size SD1.5 models of random weights, in the layouts that are published.

ComfyUI recognises a checkpoint by its shapes and has no smaller ones for SD1.5, so the files are as large
as real ones. They are made once and kept in VCD_HOME/test-models. Every tensor is drawn from a generator
of its own, seeded with the tensor's name, so a file does not depend on the order of its making.

The weights are scaled so that activations keep their size, and the UNet is, on top of its random features,
roughly the optimal denoiser of white noise: it predicts ε ≈ x + features. So samplers converge to latents of
ordinary size, the initial noise survives into the picture, and text, time and motion all change it.
"""

import hashlib
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from comfyui_hosts import vcd_home
from safetensors.torch import save_file
from torch import Tensor

VERSION = 1  # part of every file's name: raise it when the weights change

CHANNELS = 320
LEVELS = (1, 2, 4, 4)
TEXT_WIDTH = 768
TEXT_LAYERS = 12
VOCABULARY = 49408
VAE_CHANNELS = 128
POSITIONS = 32  # of the temporal positional encoding

Tensors = Iterator[tuple[str, Tensor]]


class Drawer:
    """Draws the tensors of one file by name."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def normal(self, name: str, shape: tuple[int, ...], std: float) -> Tensor:
        digest = hashlib.sha256(f"{self.seed} {name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        return torch.randn(shape, generator=generator) * std

    def layer(self, name: str, *shape: int, gain: float = 1.0, bias: bool = True) -> Tensors:
        """A linear or convolution layer (out, in, ...) whose output is `gain` times as large as its input."""
        yield f"{name}.weight", self.normal(f"{name}.weight", shape, gain / math.sqrt(math.prod(shape[1:])))
        if bias:
            yield f"{name}.bias", self.normal(f"{name}.bias", shape[:1], 0.02)

    def attention(self, name: str, width: int, context: int, heads_gain: float = 1.5, gain: float = 0.5) -> Tensors:
        yield from self.layer(f"{name}.to_q", width, width, gain=heads_gain, bias=False)
        yield from self.layer(f"{name}.to_k", width, context, gain=heads_gain, bias=False)
        yield from self.layer(f"{name}.to_v", width, context, bias=False)
        yield from self.layer(f"{name}.to_out.0", width, width, gain=gain)

    def feed_forward(self, name: str, width: int, gain: float = 0.5) -> Tensors:
        """GEGLU: twice four times the width, then back."""
        yield from self.layer(f"{name}.net.0.proj", 8 * width, width)
        yield from self.layer(f"{name}.net.2", width, 4 * width, gain=gain)


def norm(name: str, width: int) -> Tensors:
    yield f"{name}.weight", torch.ones(width)
    yield f"{name}.bias", torch.zeros(width)


# --- the UNet, LDM layout ---------------------------------------------------------------------------


def residual_block(draw: Drawer, name: str, inward: int, outward: int, gain: float = 0.5) -> Tensors:
    yield from norm(f"{name}.in_layers.0", inward)
    yield from draw.layer(f"{name}.in_layers.2", outward, inward, 3, 3, gain=1.5)
    yield from draw.layer(f"{name}.emb_layers.1", outward, 4 * CHANNELS)
    yield from norm(f"{name}.out_layers.0", outward)
    yield from draw.layer(f"{name}.out_layers.3", outward, outward, 3, 3, gain=gain)
    if inward != outward:
        yield from draw.layer(f"{name}.skip_connection", outward, inward, 1, 1)


def spatial_transformer(draw: Drawer, name: str, width: int, gain: float = 0.5) -> Tensors:
    yield from norm(f"{name}.norm", width)
    yield from draw.layer(f"{name}.proj_in", width, width, 1, 1)
    block = f"{name}.transformer_blocks.0"
    yield from draw.attention(f"{block}.attn1", width, width)
    yield from draw.feed_forward(f"{block}.ff", width)
    yield from draw.attention(f"{block}.attn2", width, TEXT_WIDTH, gain=1.0)
    for index in (1, 2, 3):
        yield from norm(f"{block}.norm{index}", width)
    yield from draw.layer(f"{name}.proj_out", width, width, 1, 1, gain=gain)


def random_unet(draw: Drawer) -> Tensors:
    yield from encoder(draw)
    skips = skip_widths()
    width = skips[-1]

    index = 0
    for level in reversed(range(4)):
        for repeat in range(3):
            name = f"output_blocks.{index}"
            yield from residual_block(draw, f"{name}.0", width + skips.pop(), LEVELS[level] * CHANNELS)
            width = LEVELS[level] * CHANNELS
            if level < 3:
                yield from spatial_transformer(draw, f"{name}.1", width)
            if repeat == 2 and level > 0:
                yield from draw.layer(f"{name}.{2 if level < 3 else 1}.conv", width, width, 3, 3)
            index += 1

    yield from norm("out.0", CHANNELS)
    yield from draw.layer("out.2", 4, CHANNELS, 3, 3)


def random_controlnet(draw: Drawer) -> Tensors:
    """The encoder once more, with a small network for the hint, and a convolution behind every skip."""
    yield from encoder(draw)
    for index, width in enumerate(skip_widths()):
        yield from draw.layer(f"zero_convs.{index}.0", width, width, 1, 1, gain=0.2)
    yield from draw.layer("middle_block_out.0", skip_widths()[-1], skip_widths()[-1], 1, 1, gain=0.2)
    widths = (3, 16, 16, 32, 32, 96, 96, 256, CHANNELS)
    for index, (inward, outward) in enumerate(zip(widths, widths[1:], strict=False)):
        yield from draw.layer(f"input_hint_block.{2 * index}", outward, inward, 3, 3, gain=1.7)


def skip_widths() -> list[int]:
    widths = [CHANNELS]
    for level, multiple in enumerate(LEVELS):
        widths += [multiple * CHANNELS] * (3 if level < 3 else 2)
    return widths


def encoder(draw: Drawer) -> Tensors:
    """Of a UNet: its time embedding, input blocks and middle block."""
    yield from draw.layer("time_embed.0", 4 * CHANNELS, CHANNELS)
    yield from draw.layer("time_embed.2", 4 * CHANNELS, 4 * CHANNELS)
    yield from draw.layer("input_blocks.0.0", CHANNELS, 4, 3, 3)

    width = CHANNELS
    index = 1
    for level, multiple in enumerate(LEVELS):
        for _ in range(2):
            yield from residual_block(draw, f"input_blocks.{index}.0", width, multiple * CHANNELS)
            width = multiple * CHANNELS
            if level < 3:
                yield from spatial_transformer(draw, f"input_blocks.{index}.1", width)
            index += 1
        if level < 3:
            yield from draw.layer(f"input_blocks.{index}.0.op", width, width, 3, 3)
            index += 1

    yield from residual_block(draw, "middle_block.0", width, width)
    yield from spatial_transformer(draw, "middle_block.1", width)
    yield from residual_block(draw, "middle_block.2", width, width)


def carry_input_to_output(unet: dict[str, Tensor], features: float = 0.25) -> None:
    """Rewires the first group of 10 channels so that the UNet predicts about its own input.

    Channels 2c and 2c + 1 hold ±x_c at the first convolution and reach the last block by its skip connection.
    There silu(a) − silu(−a) = a undoes the activation. The other channels add `features` of random texture.
    """
    group = CHANNELS // 32
    first, last = unet["input_blocks.0.0.weight"], unet["out.2.weight"]
    skip = unet["output_blocks.11.0.skip_connection.weight"]
    first[:group] = 0
    skip[:group] = 0
    last[:, :group] = 0
    last *= features
    for c in range(4):
        for channel, sign in ((2 * c, 1.0), (2 * c + 1, -1.0)):
            first[channel, c, 1, 1] = sign
            skip[channel, CHANNELS + channel] = 1.0
            last[c, channel, 1, 1] = sign * math.sqrt(8 / group)  # the group's norm counts two empty channels
    for name in ("input_blocks.0.0.bias", "output_blocks.11.0.skip_connection.bias", "out.2.bias"):
        unet[name][:group] = 0
    for name in ("output_blocks.11.0.out_layers.3", "output_blocks.11.1.proj_out"):
        unet[f"{name}.weight"][:group] *= features
        unet[f"{name}.bias"][:group] = 0


# --- the text encoder, transformers layout ----------------------------------------------------------


def random_text_encoder(draw: Drawer) -> Tensors:
    yield "embeddings.position_ids", torch.arange(77)[None]
    for name, count in (("token", VOCABULARY), ("position", 77)):
        weight = f"embeddings.{name}_embedding.weight"
        yield weight, draw.normal(weight, (count, TEXT_WIDTH), 0.02)
    for index in range(TEXT_LAYERS):
        layer = f"encoder.layers.{index}"
        for name in ("q_proj", "k_proj", "v_proj"):
            yield from draw.layer(f"{layer}.self_attn.{name}", TEXT_WIDTH, TEXT_WIDTH)
        yield from draw.layer(f"{layer}.self_attn.out_proj", TEXT_WIDTH, TEXT_WIDTH, gain=0.02)
        yield from draw.layer(f"{layer}.mlp.fc1", 4 * TEXT_WIDTH, TEXT_WIDTH)
        yield from draw.layer(f"{layer}.mlp.fc2", TEXT_WIDTH, 4 * TEXT_WIDTH, gain=0.02)
        yield from norm(f"{layer}.layer_norm1", TEXT_WIDTH)
        yield from norm(f"{layer}.layer_norm2", TEXT_WIDTH)
    yield from norm("final_layer_norm", TEXT_WIDTH)


# --- the VAE, LDM layout ----------------------------------------------------------------------------


def vae_residual_block(draw: Drawer, name: str, inward: int, outward: int) -> Tensors:
    yield from norm(f"{name}.norm1", inward)
    yield from draw.layer(f"{name}.conv1", outward, inward, 3, 3, gain=1.5)
    yield from norm(f"{name}.norm2", outward)
    yield from draw.layer(f"{name}.conv2", outward, outward, 3, 3, gain=0.7)
    if inward != outward:
        yield from draw.layer(f"{name}.nin_shortcut", outward, inward, 1, 1)


def vae_middle(draw: Drawer, name: str, width: int) -> Tensors:
    yield from vae_residual_block(draw, f"{name}.block_1", width, width)
    yield from norm(f"{name}.attn_1.norm", width)
    for part in ("q", "k", "v", "proj_out"):
        yield from draw.layer(f"{name}.attn_1.{part}", width, width, 1, 1, gain=0.5)
    yield from vae_residual_block(draw, f"{name}.block_2", width, width)


def random_vae(draw: Drawer) -> Tensors:
    widths = [multiple * VAE_CHANNELS for multiple in (1, 2, 4, 4)]

    yield from draw.layer("encoder.conv_in", widths[0], 3, 3, 3)
    width = widths[0]
    for level in range(4):
        for index in range(2):
            yield from vae_residual_block(draw, f"encoder.down.{level}.block.{index}", width, widths[level])
            width = widths[level]
        if level < 3:
            yield from draw.layer(f"encoder.down.{level}.downsample.conv", width, width, 3, 3)
    yield from vae_middle(draw, "encoder.mid", width)
    yield from norm("encoder.norm_out", width)
    yield from draw.layer("encoder.conv_out", 8, width, 3, 3, gain=9.0)  # latents of std 1 / 0.18215
    # Of the 8 outputs 4 are the log variance: next to none, so that encoding is deterministic.
    yield "quant_conv.weight", torch.cat([torch.eye(4, 8), torch.zeros(4, 8)])[:, :, None, None]
    yield "quant_conv.bias", torch.tensor([0.0] * 4 + [-25.0] * 4)

    yield from draw.layer("post_quant_conv", 4, 4, 1, 1, gain=0.2)
    yield from draw.layer("decoder.conv_in", widths[-1], 4, 3, 3)
    yield from vae_middle(draw, "decoder.mid", widths[-1])
    width = widths[-1]
    for level in reversed(range(4)):
        for index in range(3):
            yield from vae_residual_block(draw, f"decoder.up.{level}.block.{index}", width, widths[level])
            width = widths[level]
        if level > 0:
            yield from draw.layer(f"decoder.up.{level}.upsample.conv", width, width, 3, 3)
    yield from norm("decoder.norm_out", width)
    yield from draw.layer("decoder.conv_out", 3, width, 3, 3, gain=0.7)


# --- motion modules and motion LoRA, AnimateDiff layout ----------------------------------------------


def motion_module_places(has_middle: bool) -> Iterator[tuple[str, int]]:
    """(name, width) of every temporal transformer of an SD1.5 motion module."""
    for level, multiple in enumerate(LEVELS):
        for index in range(2):
            yield f"down_blocks.{level}.motion_modules.{index}.temporal_transformer", multiple * CHANNELS
    if has_middle:
        yield "mid_block.motion_modules.0.temporal_transformer", LEVELS[-1] * CHANNELS
    for level, multiple in enumerate(reversed(LEVELS)):
        for index in range(3):
            yield f"up_blocks.{level}.motion_modules.{index}.temporal_transformer", multiple * CHANNELS


def positional_encoding(width: int) -> Tensor:
    """(1, POSITIONS, width): sines and cosines, interleaved, of wavelengths 2π to 20000π."""
    position = torch.arange(POSITIONS)[:, None]
    angle = position * torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[None]


def random_motion_module(draw: Drawer, has_middle: bool, strength: float) -> Tensors:
    for name, width in motion_module_places(has_middle):
        yield from norm(f"{name}.norm", width)
        yield from draw.layer(f"{name}.proj_in", width, width)
        block = f"{name}.transformer_blocks.0"
        for index in range(2):
            yield from draw.attention(f"{block}.attention_blocks.{index}", width, width)
            yield f"{block}.attention_blocks.{index}.pos_encoder.pe", positional_encoding(width)
            yield from norm(f"{block}.norms.{index}", width)
        yield from draw.feed_forward(f"{block}.ff", width)
        yield from norm(f"{block}.ff_norm", width)
        yield from draw.layer(f"{name}.proj_out", width, width, gain=strength)


def random_motion_lora(draw: Drawer, rank: int, has_middle: bool, strength: float) -> Tensors:
    for name, width in motion_module_places(has_middle):
        for index in range(2):
            attention = f"{name}.transformer_blocks.0.attention_blocks.{index}.processor"
            for part in ("to_q", "to_k", "to_v", "to_out"):
                yield from draw.layer(f"{attention}.{part}_lora.down", rank, width, bias=False)
                yield from draw.layer(f"{attention}.{part}_lora.up", width, rank, gain=strength, bias=False)


# --- files ------------------------------------------------------------------------------------------


def cached(name: str, build: Callable[[], dict[str, Tensor]]) -> Path:
    """The file of this name in VCD_HOME/test-models, built if it is not there yet."""
    path = vcd_home() / "test-models" / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.part")
        try:
            save_file(build(), temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return path


def collect(tensors: Tensors, prefix: str = "", dtype: torch.dtype = torch.float16) -> dict[str, Tensor]:
    return {
        prefix + name: (value.to(dtype) if value.is_floating_point() else value).contiguous() for name, value in tensors
    }


def sd15_checkpoint(seed: int = 0) -> Path:
    """A checkpoint (2.1 GB, fp16) for CheckpointLoaderSimple: UNet, text encoder and VAE."""

    def build() -> dict[str, Tensor]:
        draw = Drawer(seed)
        unet = collect(random_unet(draw))
        carry_input_to_output(unet)
        return {
            **{f"model.diffusion_model.{name}": value for name, value in unet.items()},
            **collect(random_text_encoder(draw), "cond_stage_model.transformer.text_model."),
            **collect(random_vae(draw), "first_stage_model."),
        }

    return cached(f"sd15-random-seed{seed}-r{VERSION}.safetensors", build)


def motion_module(version: str = "v3", seed: int = 0, strength: float = 0.5) -> Path:
    """A motion module (0.8 GB, fp16) of AnimateDiff's "v2" (with a middle block) or "v3" (without).

    `strength` is the size of what it adds to the activations that it is given; 0 changes nothing.
    """
    has_middle = {"v2": True, "v3": False}[version]
    return cached(
        f"motion-{version}-random-seed{seed}-strength{strength:g}-r{VERSION}.safetensors",
        lambda: collect(random_motion_module(Drawer(seed), has_middle, strength)),
    )


def controlnet(seed: int = 0) -> Path:
    """A ControlNet (0.7 GB, fp16) for SD1.5, whose hint changes what it says."""
    return cached(
        f"controlnet-random-seed{seed}-r{VERSION}.safetensors", lambda: collect(random_controlnet(Drawer(seed)))
    )


def motion_lora(seed: int = 0, rank: int = 64, strength: float = 0.5, has_middle: bool = True) -> Path:
    """A motion LoRA (39 MB at rank 64, fp16) for every attention of a v2 motion module."""
    kind = "v2" if has_middle else "v3"
    return cached(
        f"motion-lora-{kind}-random-seed{seed}-rank{rank}-strength{strength:g}-r{VERSION}.safetensors",
        lambda: collect(random_motion_lora(Drawer(seed), rank, has_middle, strength)),
    )
