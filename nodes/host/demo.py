"""The demo model from ComfyUI's own parts: it is too narrow for ComfyUI to recognise its file as a checkpoint."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import comfy.model_management
import comfy.sd
import comfy.supported_models
import comfy.utils
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd1_clip import SD1ClipModel, SD1Tokenizer, SDClipModel, SDTokenizer
from torch import Tensor

from ...vcd_core.standalone.config import DEMO, ModelConfig
from ...vcd_core.standalone.demo_model import MEMORY, MOTION_FILE, STYLE_FILE, read_demo_weights, require_memory
from ...vcd_core.standalone.ldm_layout import TEXT_PREFIX, UNET_PREFIX, VAE_PREFIX
from ...vcd_core.standalone.weights_folder import verified_file
from .motion import add_motion_module

WEIGHTS = Path(__file__).resolve().parents[2] / "demo" / "weights"


def load_demo(folder: Path, *, styled: bool) -> tuple[ModelPatcher, ModelPatcher, comfy.sd.CLIP, comfy.sd.VAE]:
    """MODEL, the same MODEL with motion, CLIP and VAE.

    Args:
        styled: with the second style, as a LoRA on the MODEL.

    Raises:
        ValueError: a file is missing or not the one that shipped; which, and how to get it back. Or less memory is free
            than the demo takes beside ComfyUI itself.
    """
    require_memory(MEMORY // 2)
    weights = read_demo_weights(folder)
    motion = verified_file(folder, MOTION_FILE)
    style = verified_file(folder, STYLE_FILE) if styled else None

    model = _model(_part(weights, UNET_PREFIX))
    if style is not None:
        model, _ = comfy.sd.load_lora_for_models(model, None, comfy.utils.load_torch_file(str(style)), 1.0, 0.0)
    moving = add_motion_module(model, motion, own_schedule=True)
    return model, moving, _clip(_part(weights, TEXT_PREFIX)), _vae(_part(weights, VAE_PREFIX))


class DemoSD15(comfy.supported_models.SD15):
    """Stable Diffusion 1.5 in the demo model's sizes. Its class name goes into the files of ID tokens."""

    unet_extra_config = {"num_heads": DEMO.heads, "num_head_channels": -1}


def _model(weights: dict[str, Tensor]) -> ModelPatcher:
    family = DemoSD15(_unet_config(DEMO))
    family.latent_format.scale_factor = DEMO.scaling_factor
    # So small that float32 costs nothing, on any device.
    family.set_inference_dtype(torch.float32, None)
    base = family.get_model({}, device=torch.device("cpu"))
    base.diffusion_model.load_state_dict(weights)
    return ModelPatcher(
        base,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


def _unet_config(config: ModelConfig) -> dict:
    """What ComfyUI would find out about the UNet from its weights."""
    blocks = config.unet_blocks
    return {
        "image_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": config.channels[0],
        "channel_mult": tuple(channels // config.channels[0] for channels in config.channels),
        "num_res_blocks": [blocks for _ in config.channels],
        "transformer_depth": [int(has) for has in config.attention for _ in range(blocks)],
        "transformer_depth_middle": 1,
        "transformer_depth_output": [int(has) for has in config.attention for _ in range(blocks + 1)],
        "use_spatial_transformer": True,
        "use_linear_in_transformer": False,
        "context_dim": config.text_width,
        "adm_in_channels": None,
        "use_temporal_attention": False,
        "legacy": False,
    }


class _TextEncoder(SDClipModel):
    def __init__(self, device="cpu", dtype=None, model_options=None) -> None:
        super().__init__(
            device=device,
            dtype=dtype,
            return_projected_pooled=False,
            textmodel_json_config=DEMO.text_encoder(),
            model_options=model_options or {},
        )


class _WholeTextEncoder(SD1ClipModel):
    disable_offload = True  # ComfyUI reloads what it streams from a checkpoint, which this is not


def _clip(weights: dict[str, Tensor]) -> comfy.sd.CLIP:
    target = SimpleNamespace(
        params={"clip_model": _TextEncoder},
        clip=_WholeTextEncoder,
        tokenizer=partial(SD1Tokenizer, tokenizer=partial(SDTokenizer, embedding_size=DEMO.text_width)),
    )
    clip = comfy.sd.CLIP(
        target,
        embedding_directory=folder_paths.get_folder_paths("embeddings"),
        model_options={"initial_device": torch.device("cpu")},
    )
    clip.load_sd(weights)
    return clip


def _vae(weights: dict[str, Tensor]) -> comfy.sd.VAE:
    width, *_ = DEMO.vae_channels
    sizes = {
        "double_z": True,
        "z_channels": 4,
        "resolution": 256,
        "in_channels": 3,
        "out_ch": 3,
        "ch": width,
        "ch_mult": [channels // width for channels in DEMO.vae_channels],
        "num_res_blocks": DEMO.vae_blocks,
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    return comfy.sd.VAE(
        sd={name: value.float() for name, value in weights.items()},
        config={"params": {"ddconfig": sizes, "embed_dim": 4}},
        dtype=torch.float32,
    )


def _part(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
