"""CLIP, DINO and DINOv2 folders in the published layouts, with random weights and few channels."""

import json
from pathlib import Path

import torch

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
OLD_VIT_PROCESSOR = {
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "ViTFeatureExtractor",
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 2,
    "size": 48,
}
"""As it lies beside DINO's weights, but for the size."""


def write_clip(folder: Path, tokenizer, seed: int = 0) -> Path:
    """Its pictures are of 64 pixels; the tokenizer is CLIP's own, which `vcd_core.standalone` has."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    torch.manual_seed(seed)
    text = CLIPTextConfig(**SMALL, eos_token_id=49407, bos_token_id=49406)
    vision = CLIPVisionConfig(**SMALL, image_size=64, patch_size=16)
    CLIPModel(
        CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=24)
    ).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_dino(folder: Path, seed: int = 0) -> Path:
    """As the first DINO's are: weights in torch's old format, and a processor in transformers' old words."""
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(seed)
    network = ViTModel(ViTConfig(**SMALL, image_size=48, patch_size=16), add_pooling_layer=False)
    network.save_pretrained(folder, safe_serialization=False)
    (folder / "preprocessor_config.json").write_text(json.dumps(OLD_VIT_PROCESSOR))
    return folder


def write_dinov2(folder: Path, seed: int = 0) -> Path:
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    torch.manual_seed(seed)
    sizes = {name: value for name, value in SMALL.items() if name != "intermediate_size"}
    Dinov2Model(Dinov2Config(**sizes, image_size=56, patch_size=14)).save_pretrained(folder)
    BitImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 56, "width": 56}).save_pretrained(folder)
    return folder
