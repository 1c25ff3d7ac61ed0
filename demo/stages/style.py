"""The second style: a LoRA of the UNet on the world drawn in ink. Captions are the same; only the drawing differs."""

from dataclasses import replace
from pathlib import Path

from diffusers import UNet2DConditionModel
from peft import LoraConfig, inject_adapter_in_model

from vcd_core.standalone.config import DEMO

from ..train import Stage, averaged_weights
from .image import stage as image_stage

RANK = 8
SHARDS = 1
LAYERS = ("conv1", "conv2", "conv_shortcut", "to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "conv")


def stage(folder: Path) -> Stage:
    unet = UNet2DConditionModel(**DEMO.unet())
    unet.load_state_dict(averaged_weights(folder, "image"))
    unet.requires_grad_(False)
    unet = inject_adapter_in_model(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=list(LAYERS)), unet)
    return replace(
        image_stage(folder, "ink", SHARDS, unet), steps=5000, learning_rate=1e-3, weight_decay=0.0, average=0.998
    )
