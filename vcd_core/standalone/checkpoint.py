"""From one checkpoint file in the published (LDM) layout to a model, offline."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..files import read_tensors
from ..sampling import DiscreteSchedule
from .config import SD15, ModelConfig
from .ldm_layout import TEXT_PREFIX, UNET_PREFIX, VAE_PREFIX
from .model import StableDiffusion
from .tokenizer import clip_tokenizer

VAE_PARTS = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")

_LOOKS_LIKE = (  # the first part of a name that occurs in any key decides
    ("conditioner.embedders.", "an SDXL checkpoint"),
    ("cond_stage_model.model.", "a Stable Diffusion 2 checkpoint"),
    ("joint_blocks.", "a Stable Diffusion 3 model"),
    ("double_blocks.", "a Flux model"),
    ("token_embedding.rows", "the demo's own model, which only `make demo` and the node Demo Model read"),
    (UNET_PREFIX, ""),
    ("motion_modules.", "a motion module: give it as the motion module"),
    ("control_model.", "a ControlNet"),
    ("lora", "a LoRA"),
    ("clip_l", "an ID token or another embedding"),
    ("add_embedding.", "an SDXL UNet in diffusers' layout"),
    ("down_blocks.", "a UNet in diffusers' layout: give the whole checkpoint as one file"),
    ("decoder.", "a VAE"),
    ("text_model.", "a text encoder"),
)
_FAMILY_OF_CONTEXT = {1024: "a Stable Diffusion 2 checkpoint", 2048: "an SDXL checkpoint"}
_KIND_OF_INPUT = {9: "an inpainting checkpoint", 8: "an image-editing (InstructPix2Pix) checkpoint"}

VAE_TILE = 1024  # pixels
VAE_FACTOR = 8


def load_checkpoint(path: str | Path, config: ModelConfig = SD15, *, device: str = "cpu") -> StableDiffusion:
    """The UNet, VAE and text encoder in a checkpoint, in float32, frozen and in evaluation mode.

    Reads .safetensors and torch's .ckpt (tensors only, never code). Nothing is looked up on the network: the
    sizes come from `config`, and diffusers' own converters rename the weights.

    Raises:
        ValueError: the file is missing, damaged, could run code, or is of another family; which, and what to do.
    """
    path = Path(path)
    tensors, _ = read_tensors(path)
    _check_family(tensors, config, path.name)
    return model_from_tensors(tensors, config, path.name, device=device)


def model_from_tensors(
    tensors: Mapping[str, Tensor], config: ModelConfig, name: str, *, device: str = "cpu"
) -> StableDiffusion:
    """The model whose weights these are, in the published layout, in float32, frozen and in evaluation mode.

    Args:
        name: of the file they come from, for messages.

    Raises:
        ValueError: weights are missing, left over or of other shapes.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
    from transformers import CLIPTextConfig, CLIPTextModel

    unet = convert_ldm_unet_checkpoint(_part(tensors, UNET_PREFIX), config.unet())
    vae = convert_ldm_vae_checkpoint(
        {
            key: value
            for key, value in _part(tensors, VAE_PREFIX).items()
            if key[len(VAE_PREFIX) :].startswith(VAE_PARTS)
        },
        config.vae(),
    )
    text = {_text_name(key): value for key, value in _part(tensors, TEXT_PREFIX).items()}

    def build(what: str, make, weights: dict[str, Tensor]) -> nn.Module:
        try:
            return with_weights(make, weights, device)
        except ValueError as error:
            raise ValueError(
                f"{name} is not a whole checkpoint of the Stable Diffusion 1.5 family: {what} {error}"
            ) from error

    autoencoder = build("its VAE", lambda: AutoencoderKL(**config.vae()), vae)
    autoencoder.to(memory_format=torch.channels_last)  # narrow ones, as the demo's, decode in 0.7 of the time on CPUs
    return StableDiffusion(
        unet=build("its UNet", lambda: UNet2DConditionModel(**config.unet()), unet),
        vae=in_tiles(autoencoder),
        text_encoder=build("its text encoder", lambda: CLIPTextModel(CLIPTextConfig(**config.text_encoder())), text),
        tokenizer=clip_tokenizer(),
        schedule=DiscreteSchedule.from_betas("scaled_linear"),
        scaling_factor=config.scaling_factor,
    )


def in_tiles(vae: nn.Module) -> nn.Module:
    """With pictures of more than VAE_TILE pixels a side cut for it into tiles that fade into each other."""
    vae.enable_tiling()
    vae.tile_sample_min_size, vae.tile_latent_min_size = VAE_TILE, VAE_TILE // VAE_FACTOR
    return vae


def with_weights(make, weights: dict[str, Tensor], device: str) -> nn.Module:
    """What `make` makes, with these weights in float32; it is never filled with others first."""
    from accelerate import init_empty_weights

    with init_empty_weights():
        model = make()
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    if missing := [key for key in expected if key not in weights]:
        raise ValueError(f"lacks {len(missing)} of {len(expected)} weights, such as {missing[0]}")
    if unknown := [key for key in weights if key not in expected]:
        raise ValueError(f"has {len(unknown)} unknown weights, such as {unknown[0]}")
    if wrong := [key for key in expected if tuple(weights[key].shape) != expected[key]]:
        raise ValueError(f"has {wrong[0]} of shape {tuple(weights[wrong[0]].shape)}, not {expected[wrong[0]]}")
    model.load_state_dict({key: value.to(device, torch.float32) for key, value in weights.items()}, assign=True)
    return model.to(device).eval().requires_grad_(False)


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key: value for key, value in tensors.items() if key.startswith(prefix)}


def _text_name(key: str) -> str:
    """Some checkpoints leave out "text_model."."""
    return "text_model." + key.removeprefix(TEXT_PREFIX).removeprefix("text_model.")


def _check_family(tensors: dict[str, Tensor], config: ModelConfig, name: str) -> None:
    """Raises ValueError that says what the file is; drops what checkpoints carry besides weights."""
    tensors.pop(f"{TEXT_PREFIX}text_model.embeddings.position_ids", None)
    tensors.pop(f"{TEXT_PREFIX}embeddings.position_ids", None)
    looks_like = "something else" if tensors else "a file without weights"
    for part, description in _LOOKS_LIKE:
        if any(part in key for key in tensors):
            looks_like = description
            break
    if not looks_like:
        context = tensors.get(f"{UNET_PREFIX}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight")
        first = tensors.get(f"{UNET_PREFIX}input_blocks.0.0.weight")
        if context is not None and context.shape[1] != config.text_width:
            looks_like = _FAMILY_OF_CONTEXT.get(context.shape[1], f"a model of text width {context.shape[1]}")
        elif first is not None and first.shape[1] != 4:
            looks_like = _KIND_OF_INPUT.get(first.shape[1], f"a model of {first.shape[1]} input channels")
    if looks_like:
        raise ValueError(
            f"{name} is not a Stable Diffusion 1.5 checkpoint; it looks like {looks_like}. Use a checkpoint of the "
            "Stable Diffusion 1.5 family"
        )
    for prefix, what in ((VAE_PREFIX, "VAE"), (TEXT_PREFIX, "text encoder")):
        if not any(key.startswith(prefix) for key in tensors):
            raise ValueError(f"{name} has no {what} in it: use a full checkpoint, not a pruned or UNet-only one")
