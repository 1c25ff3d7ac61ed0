"""Motion modules inside a ComfyUI model, by its own injection mechanism: nothing outside the model is patched."""

from pathlib import Path

import comfy.lora
import comfy.model_management
import comfy.ops
import comfy.supported_models
import torch
from comfy.ldm.modules.attention import SpatialTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock, UNetModel
from comfy.model_patcher import ModelPatcher
from comfy.model_sampling import ModelSamplingDiscrete
from comfy.patcher_extension import PatcherInjection
from torch import nn

from ...vcd_core.motion import OPERATIONS, check_motion_lora, load_motion_module, read_motion_lora
from ...vcd_core.sampling import DiscreteSchedule

KEY = "vcd_motion"
TIMESTEPS = 1000


class Motion(nn.Module):
    """Stands in a block of the UNet for a temporal transformer without making it part of the UNet's weights."""

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        object.__setattr__(self, "transformer", transformer)


def add_motion_module(model: ModelPatcher, path: Path, *, own_schedule: bool) -> ModelPatcher:
    """A clone of the model in which every frame of a batch sees the others.

    Args:
        own_schedule: use the noise levels the motion module was trained on (AnimateDiff's linear betas) instead of
            the checkpoint's.

    Raises:
        ValueError: not a motion module, or the model is not of the family that the module was made for.
    """
    if isinstance(model.model.model_config, comfy.supported_models.SD20):  # its channels are the same
        raise ValueError(
            f"motion module {path.name} does not fit the checkpoint, which is of Stable Diffusion 2. Load one of the "
            "Stable Diffusion 1.5 family"
        )
    unet = model.get_model_object("diffusion_model")
    stored, cast = model.model.get_dtype(), model.get_model_object("manual_cast_dtype")
    # The model's own precision or, where its weights are in float8, the one that it computes in.
    dtype = next((one for one in (stored, cast) if one in (torch.float16, torch.bfloat16)), torch.float32)
    # ComfyUI's layers cast and stream their weights; a float32 module on the CPU needs neither.
    on_cpu = comfy.model_management.is_device_cpu(model.load_device) and dtype == torch.float32
    module = load_motion_module(
        path,
        operations=OPERATIONS if on_cpu else comfy.ops.manual_cast,
        dtype=dtype,
        device=comfy.model_management.unet_offload_device(),
    ).requires_grad_(False)
    places = _match_places(unet, module, path.name)

    patched = model.clone()
    weights = ModelPatcher(module, model.load_device, comfy.model_management.unet_offload_device())
    patched.set_additional_models(KEY, [weights])
    patched.set_injections(KEY, [_injection(places)])
    _set_handler(patched)
    if own_schedule:
        patched.add_object_patch("model_sampling", _animatediff_sampling(model))
    return patched


def without_motion_module(model: ModelPatcher) -> ModelPatcher:
    """A clone without motion module, and without AnimateDiff's noise levels if they came with it."""
    clone = model.clone()
    levels = getattr(clone.object_patches.get("model_sampling"), "sigmas", None)
    if clone.get_additional_models_with_key(KEY) and levels is not None:
        animatediff = DiscreteSchedule.from_betas("linear").sigmas
        if levels.shape == animatediff.shape and torch.allclose(levels.cpu(), animatediff):
            del clone.object_patches["model_sampling"]
    clone.remove_injections(KEY)
    clone.remove_additional_models(KEY)
    return clone


def add_motion_lora(model: ModelPatcher, path: Path, strength: float) -> ModelPatcher:
    """A clone of the model whose motion module is changed by a motion LoRA; several add up.

    Raises:
        ValueError: the model has no motion module, or the LoRA was made for another one.
    """
    patched = model.clone()
    modules = patched.get_additional_models_with_key(KEY)
    if not modules:
        raise ValueError(
            "the model has no motion module for this motion LoRA: connect Load Motion Module (VCD) before this node"
        )
    (weights,) = modules
    lora = read_motion_lora(path)
    check_motion_lora(weights.model, lora, path.name)
    tensors = {}
    for name, (up, down, alpha) in lora.items():
        tensors[f"{name}.lora_up.weight"] = up
        tensors[f"{name}.lora_down.weight"] = down
        if alpha is not None:
            tensors[f"{name}.alpha"] = torch.tensor(alpha)
    weights.add_patches(comfy.lora.load_lora(tensors, {name: name for name in lora}), strength)
    return patched


def _injection(places: list[tuple[nn.Sequential, nn.Module]]) -> PatcherInjection:
    """Both directions can be repeated: ComfyUI calls them again for every clone."""

    def eject(_patcher) -> None:
        for block, _ in places:
            for index in reversed(range(len(block))):
                if isinstance(block[index], Motion):
                    del block[index]

    def inject(patcher) -> None:
        eject(patcher)
        for block, transformer in places:
            block.insert(_position(block), Motion(transformer))

    return PatcherInjection(inject=inject, eject=eject)


def _position(block: nn.Sequential) -> int:
    """Behind the last attention, or the first ResBlock where there is none; always before an Upsample."""
    attentions = [i for i, layer in enumerate(block) if isinstance(layer, SpatialTransformer)]
    residuals = [i for i, layer in enumerate(block) if isinstance(layer, ResBlock)]
    return (attentions[-1] if attentions else residuals[0]) + 1


def _match_places(unet: nn.Module, module: nn.Module, name: str) -> list[tuple[nn.Sequential, nn.Module]]:
    """Pairs every block of the UNet that has a ResBlock with its temporal transformer.

    Raises:
        ValueError: numbers or channels differ: another family of models.
    """
    if not isinstance(unet, UNetModel):
        raise ValueError(
            f"motion module {name}: the model is a {type(unet).__name__}, but motion modules are for models of the "
            "Stable Diffusion 1.5 family. Load such a checkpoint"
        )
    places = []
    for blocks, levels in ((unet.input_blocks, module.down_blocks), (unet.output_blocks, module.up_blocks)):
        residual = [block for block in blocks if any(isinstance(layer, ResBlock) for layer in block)]
        transformers = [motion.temporal_transformer for level in levels for motion in level.motion_modules]
        ours, theirs = (
            [_channels(block) for block in residual],
            [transformer.norm.num_channels for transformer in transformers],
        )
        if ours != theirs:
            raise ValueError(
                f"motion module {name} does not fit the checkpoint: channels {theirs}, the checkpoint's are {ours}. "
                "Modules for Stable Diffusion 1.5 need a checkpoint of that family, not SDXL"
            )
        places += zip(residual, transformers, strict=True)
    if module.mid_block is not None:
        places.append((unet.middle_block, module.mid_block.motion_modules[0].temporal_transformer))
    return places


def _channels(block: nn.Sequential) -> int:
    return next(layer.out_channels for layer in block if isinstance(layer, ResBlock))


def _set_handler(patched: ModelPatcher) -> None:
    patches = patched.model_options.get("transformer_options", {}).get("patches", {})
    if all(kind is not Motion for kind, _ in patches.get("forward_timestep_embed_patch", [])):
        patched.set_model_forward_timestep_embed_patch((Motion, _run_motion))


def _run_motion(layer: Motion, x, emb, context, transformer_options, *_args):
    return layer.transformer(x, frames=len(x) // len(transformer_options["cond_or_uncond"]))


def _animatediff_sampling(model: ModelPatcher) -> nn.Module:
    """The checkpoint's kind of prediction on AnimateDiff's noise levels.

    Raises:
        ValueError: the model has other noise levels than the usual thousand: distilled (LCM), EDM or zero SNR.
    """
    own = model.get_model_object("model_sampling")
    levels = len(getattr(own, "sigmas", ()))
    usual = type(own).__mro__[1] is ModelSamplingDiscrete and levels == TIMESTEPS and not getattr(own, "zsnr", False)
    if not usual:
        raise ValueError(
            'noise_schedule "AnimateDiff" does not go with what an earlier node made of the model\'s sampling '
            f'({type(own).__mro__[1].__name__}): choose "checkpoint", or connect that node after this one'
        )
    sampling = type(own)(model.model.model_config)
    sampling.set_sigmas(DiscreteSchedule.from_betas("linear").sigmas)
    return sampling
