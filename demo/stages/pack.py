"""Gathers the averaged weights of all stages into demo/weights, in half precision, with a manifest."""

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from vcd_core.motion import MotionModule
from vcd_core.motion.lora import LowRank
from vcd_core.standalone.config import DEMO
from vcd_core.standalone.demo_model import write_demo_model, write_demo_motion, write_demo_style, write_weights
from vcd_core.standalone.weights_folder import write_manifest

from ..people import CAST, PHOTOS, member, write_photos
from ..train import averaged_weights
from ..weights import DETECTOR_FILE, READER_FILE, WEIGHTS
from .image import load_text
from .latents import load_vae
from .motion import config as motion_config
from .style import RANK


def pack(folder: Path) -> None:
    """Writes what is trained so far; the photos of the cast as well."""
    WEIGHTS.mkdir(exist_ok=True)
    unet = UNet2DConditionModel(**DEMO.unet())
    unet.load_state_dict(averaged_weights(folder, "image"))
    text = load_text(folder)
    write_demo_model(WEIGHTS, unet, load_vae(folder), whole_text_encoder(text.encoder, text.ids), text.ids)
    if (folder / "motion.pt").exists():
        motion = MotionModule(motion_config())
        motion.load_state_dict(averaged_weights(folder, "motion"))
        write_demo_motion(WEIGHTS, motion)
    if (folder / "style.pt").exists():
        write_demo_style(WEIGHTS, low_rank(averaged_weights(folder, "style")))
    for stage, name in (("detector", DETECTOR_FILE), ("reader", READER_FILE)):
        if (folder / f"{stage}.pt").exists():
            write_weights(WEIGHTS / name, averaged_weights(folder, stage))
    for seed, name in enumerate(CAST):
        write_photos(PHOTOS / name, member(name), seed)
    write_manifest(WEIGHTS)


def whole_text_encoder(encoder: nn.Module, ids: list[int]) -> CLIPTextModel:
    """The encoder over all of CLIP's words; those that it was not taught share one vector."""
    whole = CLIPTextModel(CLIPTextConfig(**DEMO.text_encoder()))
    name = "text_model.embeddings.token_embedding.weight"
    weights = encoder.state_dict()
    rows = weights.pop(name)
    table = rows[-1].repeat(whole.get_input_embeddings().num_embeddings, 1)
    table[torch.tensor(ids)] = rows[:-1]
    whole.load_state_dict({**weights, name: table})
    return whole


def low_rank(weights: dict[str, Tensor]) -> dict[str, LowRank]:
    """peft's adapters by the layer's name."""
    found = {}
    for key, down in weights.items():
        if ".lora_A." in key:
            layer = key.partition(".lora_A.")[0]
            found[layer] = LowRank(down=down, up=weights[key.replace("lora_A", "lora_B")], alpha=float(RANK))
    return found
