"""A Stable Diffusion 1.5 too narrow for ComfyUI's detection, built from ComfyUI's own parts."""

import json
import tempfile
from pathlib import Path

import comfy.model_management
import comfy.sd
import comfy.supported_models
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd1_clip import SD1ClipModel, SD1Tokenizer, SDClipModel, SDTokenizer

WIDTH = 32  # of the text encoder
UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "num_res_blocks": [2, 2, 2],
    "channel_mult": (1, 2, 3),
    "transformer_depth": [1, 1, 1, 1, 0, 0],
    "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 0, 0, 0],
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "context_dim": WIDTH,
    "adm_in_channels": None,
    "use_temporal_attention": False,
    "legacy": False,
    "dtype": torch.float32,
}
TEXT_ENCODER = {
    "architectures": ["CLIPTextModel"],
    "bos_token_id": 0,
    "eos_token_id": 49407,
    "hidden_act": "quick_gelu",
    "hidden_size": WIDTH,
    "intermediate_size": 4 * WIDTH,
    "layer_norm_eps": 1e-5,
    "max_position_embeddings": 77,
    "model_type": "clip_text_model",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "pad_token_id": 1,
    "projection_dim": WIDTH,
    "vocab_size": 49408,
}


def model() -> ModelPatcher:
    base = comfy.supported_models.SD15(UNET).get_model({}, device=torch.device("cpu"))
    _randomise(base.diffusion_model)
    device = comfy.model_management.get_torch_device()
    return ModelPatcher(base, load_device=device, offload_device=torch.device("cpu"))


def clip(embeddings: str | None = None) -> comfy.sd.CLIP:
    class Target:
        params = {}
        clip = _TextEncoder
        tokenizer = _Tokenizer

    loaded = comfy.sd.CLIP(Target(), embedding_directory=embeddings)
    _randomise(loaded.cond_stage_model)
    return loaded


class _NarrowClipModel(SDClipModel):
    def __init__(self, device="cpu", dtype=None, model_options=None):
        config = Path(tempfile.gettempdir()) / "vcd-narrow-text-encoder.json"
        config.write_text(json.dumps(TEXT_ENCODER))
        super().__init__(
            device=device,
            dtype=dtype,
            return_projected_pooled=False,
            textmodel_json_config=str(config),
            model_options=model_options or {},
        )


class _TextEncoder(SD1ClipModel):
    def __init__(self, device="cpu", dtype=None, model_options=None):
        super().__init__(device=device, dtype=dtype, model_options=model_options or {}, clip_model=_NarrowClipModel)


class _NarrowTokenizer(SDTokenizer):
    def __init__(self, embedding_directory=None, tokenizer_data=None):
        super().__init__(
            embedding_directory=embedding_directory, embedding_size=WIDTH, tokenizer_data=tokenizer_data or {}
        )


class _Tokenizer(SD1Tokenizer):
    def __init__(self, embedding_directory=None, tokenizer_data=None):
        super().__init__(embedding_directory, tokenizer_data or {}, tokenizer=_NarrowTokenizer)


def _randomise(module: torch.nn.Module) -> None:
    """ComfyUI leaves weights uninitialised for a state dict to fill; norms are 1 and 0, the rest keeps the variance."""
    for name, parameter in module.named_parameters():
        if parameter.ndim > 1:
            parameter.normal_(std=parameter[0].numel() ** -0.5 if "embedding" not in name else 0.5)
        else:
            parameter.fill_(1.0 if name.endswith("weight") else 0.0)
