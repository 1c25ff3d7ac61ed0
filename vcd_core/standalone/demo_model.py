"""The demo model's files: an SD1.5-shaped model, its motion module and a second style, small enough to ship.

What its folder holds, besides files that others read:

    demo-model.safetensors    a checkpoint in the published (LDM) layout, float16. Its table of words is stored as the
                              rows that were trained and one that all other words share
    demo-motion.safetensors   an AnimateDiff motion module, v3 layout, float16
    demo-style.safetensors    the second style: a LoRA for the UNet, kohya's layout, float16
    demo-detector.safetensors finds the faces of the world, float16
    manifest.json             the size and SHA-256 of every file
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ..files import read_tensors, unfinished_file
from ..motion import MotionModule, load_motion_module
from ..motion.lora import LowRank
from ..vision import DrawnFaceDetector
from .checkpoint import model_from_tensors
from .config import DEMO, VOCABULARY
from .ldm_layout import TEXT_PREFIX, text_to_ldm, unet_to_ldm, vae_to_ldm
from .model import StableDiffusion
from .style import merge_style, style_tensors
from .weights_folder import verified_file

MODEL_FILE = "demo-model.safetensors"
MOTION_FILE = "demo-motion.safetensors"
STYLE_FILE = "demo-style.safetensors"
DETECTOR_FILE = "demo-detector.safetensors"

MEMORY = 2 * 2**30  # bytes; the demo from photos to clips stays below it, PyTorch's own code included

WORDS = f"{TEXT_PREFIX}text_model.embeddings.token_embedding"


def require_memory(needed: int = MEMORY) -> None:
    """Asks for so many bytes of free memory before anything is loaded.

    Raises:
        ValueError: less is free; how much, and what to do.
    """
    from psutil import virtual_memory

    free = virtual_memory().available
    if free < needed:
        raise ValueError(
            f"the demo needs {needed / 2**30:.1f} GB of free memory and {free / 2**30:.1f} GB are free: close other "
            "programs, or use a machine with more memory"
        )


def load_demo_model(folder: Path, *, style: bool = False, device: str = "cpu") -> StableDiffusion:
    """The demo model in a folder, in float32, frozen and in evaluation mode.

    Args:
        style: with the second style merged into the UNet.

    Raises:
        ValueError: a file is missing or not the one that shipped; which, and how to get it back.
    """
    model = model_from_tensors(read_demo_weights(folder), DEMO, MODEL_FILE, device=device)
    if style:
        merge_style(model.unet, verified_file(folder, STYLE_FILE))
    return model


def load_demo_motion(folder: Path, *, device: str = "cpu") -> MotionModule:
    """The demo model's motion module, in float32, frozen; raises what `load_demo_model` raises."""
    path = verified_file(folder, MOTION_FILE)
    return load_motion_module(path, dtype=torch.float32, device=device).requires_grad_(False)


def load_demo_face_detector(folder: Path, threshold: float = 0.3) -> DrawnFaceDetector:
    """What finds the faces of the demo's world, in float32, frozen; raises what `load_demo_model` raises."""
    tensors, _ = read_tensors(verified_file(folder, DETECTOR_FILE))
    detector = DrawnFaceDetector(threshold=threshold)
    detector.load_state_dict({name: value.float() for name, value in tensors.items()})
    return detector.eval().requires_grad_(False)


def read_demo_weights(folder: Path) -> dict[str, Tensor]:
    """The demo model as any checkpoint: float16, published layout, all words; raises what `load_demo_model` raises."""
    tensors, _ = read_tensors(verified_file(folder, MODEL_FILE))
    rows, values = tensors.pop(f"{WORDS}.rows"), tensors.pop(f"{WORDS}.values")
    tensors[f"{WORDS}.weight"] = values[-1].repeat(VOCABULARY, 1).index_copy(0, rows.long(), values[:-1])
    return tensors


def write_demo_model(
    folder: Path, unet: nn.Module, vae: nn.Module, text_encoder: nn.Module, vocabulary_ids: Iterable[int]
) -> Path:
    """Writes the demo model's main file; `write_manifest` comes after the last file.

    Args:
        unet, vae, text_encoder: diffusers' and transformers' modules of DEMO's sizes.
        vocabulary_ids: the words whose vectors are stored. All others must have one and the same vector.

    Raises:
        ValueError: the other words' vectors differ, or a weight is too large for float16.
    """
    tensors = {
        **unet_to_ldm(unet.state_dict(), DEMO),
        **vae_to_ldm(vae.state_dict(), DEMO),
        **text_to_ldm(text_encoder.state_dict()),
    }
    words = tensors.pop(f"{WORDS}.weight")
    rows = torch.tensor(sorted(set(vocabulary_ids)), dtype=torch.int32)
    is_other = torch.ones(len(words), dtype=torch.bool).index_fill(0, rows.long(), False)
    others = words[is_other]
    if not torch.equal(others, others[:1].expand_as(others)):
        raise ValueError("the vectors of words outside vocabulary_ids differ: set them to the one for unknown words")
    tensors[f"{WORDS}.rows"] = rows
    tensors[f"{WORDS}.values"] = torch.cat([words[~is_other], others[:1]])
    return write_weights(folder / MODEL_FILE, tensors)


def write_demo_motion(folder: Path, module: MotionModule) -> Path:
    """Writes the demo model's motion module."""
    return write_weights(folder / MOTION_FILE, module.state_dict(), {"heads": str(module.config.heads)})


def write_demo_style(folder: Path, style: Mapping[str, LowRank]) -> Path:
    """Writes the second style: the change of each layer by its name in diffusers' UNet."""
    return write_weights(folder / STYLE_FILE, style_tensors(style))


def write_weights(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Path:
    """Writes tensors in half precision, all of them or nothing.

    Raises:
        ValueError: a value is too large for float16, or not finite already.
    """
    halves = {
        name: (value.half() if value.is_floating_point() else value).cpu().contiguous()
        for name, value in tensors.items()
    }
    if bad := [name for name, value in halves.items() if not value.isfinite().all()]:
        raise ValueError(f"{bad[0]} is not finite in float16; {path.name} was not written")
    with unfinished_file(path) as unfinished:
        unfinished.write_bytes(save(halves, {"format": "pt", **(metadata or {})}))
    return path
