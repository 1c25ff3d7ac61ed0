"""Between what stages trained, in a folder of checkpoints, and what ships, demo/weights in half precision."""

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from vcd_core.motion import MotionModule
from vcd_core.motion.lora import LowRank
from vcd_core.standalone.config import DEMO
from vcd_core.standalone.demo_model import (
    DETECTOR_FILE,
    load_demo_model,
    load_demo_motion,
    write_demo_model,
    write_demo_motion,
    write_demo_style,
    write_weights,
)
from vcd_core.standalone.weights_folder import write_manifest

from ..people import CAST, PHOTOS, member, write_photos
from ..train import averaged_weights, write_checkpoint
from ..weights import NAMES_FILE, READER_FILE, WEIGHTS, load_eyes, load_parts
from .image import load_text
from .latents import load_vae
from .motion import config as motion_config
from .style import RANK
from .text import TextModel

ENCODER = "encoder."  # begins the names of the text model's weights that belong to the checkpoint
WORD_TABLE = "text_model.embeddings.token_embedding.weight"


def pack(folder: Path) -> None:
    """Writes what is trained so far to demo/weights, with a manifest; the photos of the cast as well."""
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
    taught = {name: value for name, value in text.state_dict().items() if not name.startswith(ENCODER)}
    write_weights(WEIGHTS / NAMES_FILE, taught)
    for stage, name in (("detector", DETECTOR_FILE), ("reader", READER_FILE)):
        if (folder / f"{stage}.pt").exists():
            write_weights(WEIGHTS / name, averaged_weights(folder, stage))
    for seed, name in enumerate(CAST):
        write_photos(PHOTOS / name, member(name), seed)
    write_manifest(WEIGHTS)


def unpack(folder: Path) -> None:
    """Makes checkpoints of what ships, so that training goes on where there are none: at step 0, with new averages in
    the optimizer. Stages that have a checkpoint are left alone; the style, and what ships as zeros, begins anew.
    """
    model, eyes = load_demo_model(WEIGHTS), load_eyes()
    text = TextModel()
    taught = load_parts(WEIGHTS, NAMES_FILE)
    encoder = rows_of_vocabulary(model.text_encoder.state_dict(), text.ids)
    trained = {
        "vae": model.vae.state_dict(),
        "decoder": model.vae.state_dict(),
        "text": {**{ENCODER + name: value for name, value in encoder.items()}, **taught},
        "image": model.unet.state_dict(),
        "motion": load_demo_motion(WEIGHTS).state_dict(),
        "reader": eyes.reader.state_dict(),
        "detector": eyes.detector.state_dict(),
    }
    for stage, weights in trained.items():
        zeros = [name for name, value in weights.items() if name.endswith("weight") and not value.any()]
        if len(zeros) > len(weights) / 4:
            continue  # a stand-in, from which nothing would be learned
        if not (file := folder / f"{stage}.pt").exists():
            write_checkpoint(file, {"module": weights, "averaged": weights, "step": 0, "steps": 0})


def rows_of_vocabulary(encoder: Mapping[str, Tensor], ids: list[int]) -> dict[str, Tensor]:
    """The other way from `whole_text_encoder`: the rows of these words, and one for all others."""
    table = encoder[WORD_TABLE]
    other = next(number for number in range(len(table)) if number not in set(ids))
    return {**encoder, WORD_TABLE: table[[*ids, other]]}


def whole_text_encoder(encoder: nn.Module, ids: list[int]) -> CLIPTextModel:
    """The encoder over all of CLIP's words; those that it was not taught share one vector."""
    whole = CLIPTextModel(CLIPTextConfig(**DEMO.text_encoder()))
    weights = encoder.state_dict()
    rows = weights.pop(WORD_TABLE)
    table = rows[-1].repeat(whole.get_input_embeddings().num_embeddings, 1)
    table[torch.tensor(ids)] = rows[:-1]
    whole.load_state_dict({**weights, WORD_TABLE: table})
    return whole


def low_rank(weights: dict[str, Tensor]) -> dict[str, LowRank]:
    """peft's adapters by the layer's name."""
    found = {}
    for key, down in weights.items():
        if ".lora_A." in key:
            layer = key.partition(".lora_A.")[0]
            found[layer] = LowRank(down=down, up=weights[key.replace("lora_A", "lora_B")], alpha=float(RANK))
    return found
