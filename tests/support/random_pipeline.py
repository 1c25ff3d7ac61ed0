"""A small model of random weights in the library's own classes: the whole chain runs on it in seconds."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

MAX_FRAMES = 32


def random_model(seed: int, config=None, core: str = "vcd_core"):
    """A StableDiffusion whose VAE keeps the size of what passes it: latents and pictures of ordinary contrast.

    Args:
        config: the sizes; by default the demo model's.
        core: the name that vcd_core goes by in this process.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    names = ("sampling", "standalone.config", "standalone.model", "standalone.tokenizer")
    sampling, configs, models, tokenizer = (importlib.import_module(f"{core}.{name}") for name in names)
    config = config or configs.DEMO
    with _seeded(seed):
        model = models.StableDiffusion(
            unet=UNet2DConditionModel(**config.unet()),
            vae=AutoencoderKL(**config.vae()),
            text_encoder=CLIPTextModel(CLIPTextConfig(**config.text_encoder())),
            tokenizer=tokenizer.clip_tokenizer(),
            schedule=sampling.DiscreteSchedule.from_betas("scaled_linear"),
            scaling_factor=config.scaling_factor,
        )
        for part in (model.unet, model.vae, model.text_encoder):
            part.eval().requires_grad_(False)
        _scale_output(model.vae.quant_conv, model.encode, torch.randn(1, 3, 64, 64).clamp(-1, 1), 1.0)
        _scale_output(model.vae.decoder.conv_out, model.decode, torch.randn(1, 4, 8, 8), 0.5)
    return model


def random_motion_module(seed: int, config=None, core: str = "vcd_core", **changes):
    """A MotionModule for `random_model(…, config)`, in evaluation mode; `changes` go to its MotionConfig."""
    motion = importlib.import_module(f"{core}.motion")
    config = config or importlib.import_module(f"{core}.standalone.config").DEMO
    levels = len(config.channels)
    down, up = (config.unet_blocks,) * levels, (config.unet_blocks + 1,) * levels
    sizes = {"mid_block": True, "max_frames": MAX_FRAMES, **changes}
    with _seeded(seed):
        return motion.MotionModule(motion.MotionConfig(config.channels, down, up, **sizes)).eval().requires_grad_(False)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Layers draw their first weights from the global generator, which is as before afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@torch.no_grad()
def _scale_output(layer: nn.Module, run, example: torch.Tensor, std: float) -> None:
    """Scales the last layer of `run` until what it makes of the example has this standard deviation about 0."""
    layer.bias.zero_()
    layer.weight.mul_(1e-3)  # so small that nothing is clamped
    layer.weight.mul_(std / run(example).std())
