"""The demo model's files with random weights, for tests that ask where weights go and not what they draw."""

import importlib
from pathlib import Path

import torch
from random_pipeline import random_model, random_motion_module

KNOWN_WORDS = [320, 1125, 539, 2368, 2308, 2117, 49406, 49407]  # "a photo of cat woman beach", start, end
STYLE_RANK = 4
STYLED = (
    "down_blocks.0.resnets.0.conv1",
    "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
    "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj",
    "mid_block.attentions.0.proj_in",
    "up_blocks.0.attentions.1.transformer_blocks.0.attn2.to_out.0",
    "up_blocks.1.upsamplers.0.conv",
)


def write_random_demo(folder: Path, core: str = "vcd_core"):
    """Fills the folder; returns what was written: (StableDiffusion, MotionModule, style).

    Args:
        core: the name that vcd_core goes by in this process.
    """
    names = ("demo_model", "weights_folder")
    demo_model, weights_folder = (importlib.import_module(f"{core}.standalone.{name}") for name in names)
    lora = importlib.import_module(f"{core}.motion.lora")
    generator = torch.Generator().manual_seed(0)
    model = random_model(0, core=core)
    motion = random_motion_module(0, core=core, mid_block=False, max_frames=16, heads=4)
    with torch.no_grad():
        words = model.text_encoder.get_input_embeddings().weight
        known = words[KNOWN_WORDS].clone()
        words[:] = words[0].clone()
        words[KNOWN_WORDS] = known
    layers = dict(model.unet.named_modules())

    def change(layer: str):
        rows, *columns = layers[layer].weight.shape
        up = torch.randn(rows, STYLE_RANK, *(1 for _ in columns[1:]), generator=generator)
        return lora.LowRank(up / 8, torch.randn(STYLE_RANK, *columns, generator=generator) / 8, STYLE_RANK / 2)

    style = {layer: change(layer) for layer in STYLED}
    folder.mkdir(parents=True, exist_ok=True)
    demo_model.write_demo_model(folder, model.unet, model.vae, model.text_encoder, KNOWN_WORDS)
    demo_model.write_demo_motion(folder, motion)
    demo_model.write_demo_style(folder, style)
    weights_folder.write_manifest(folder)
    return model, motion, style
