"""GroundingDINO and SAM in the published layouts, with random weights."""

from pathlib import Path

import torch
from torch import Tensor

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", "person", "cat", "red", "robot"]


def write_grounding_dino(folder: Path) -> Path:
    """A GroundingDINO folder as transformers writes it: every part of the real one, all of them small."""
    from transformers import (
        BertConfig,
        BertTokenizerFast,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
        SwinConfig,
    )

    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    text = BertConfig(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    picture = SwinConfig(
        embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, window_size=7, out_features=["stage2", "stage3", "stage4"]
    )
    config = GroundingDinoConfig(
        backbone_config=picture,
        text_config=text,
        d_model=32,
        num_queries=20,
        encoder_layers=1,
        encoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_layers=1,
        decoder_ffn_dim=32,
        decoder_attention_heads=2,
    )
    torch.manual_seed(0)
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    sizes = {"shortest_edge": 96, "longest_edge": 160}
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    GroundingDinoProcessor(GroundingDinoImageProcessor(size=sizes), tokenizer).save_pretrained(folder)
    return folder


def random_sam(variant: str = "vit_b") -> dict[str, Tensor]:
    """SAM's tensors in float16; what its masks are made of is such that they are not empty."""
    import segment_anything

    with torch.device("meta"):
        shapes = segment_anything.sam_model_registry[variant](checkpoint=None).state_dict()
    generator = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(value.shape, generator=generator).mul(0.02).half() for name, value in shapes.items()}
    for name in ("mask_decoder.output_hypernetworks_mlps.0.layers.2.bias", "mask_decoder.output_upscaling.3.bias"):
        tensors[name] += 0.05
    return tensors
