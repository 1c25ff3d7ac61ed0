"""Trainings that can be stopped at any moment: what they stand at, in a file beside the token to be."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..files import unfinished_file
from .training_state import TrainingState

SAVE_EVERY = 25  # steps
CHECKPOINT_SUFFIX = ".training"  # ComfyUI lists no such files
TENSORS = ("vectors", "newest", "momentum", "variance")


def fingerprint(*parts: object) -> str:
    """A short text that is the same for equal numbers, texts, tensors, and sequences and dataclasses of these."""
    digest = hashlib.sha256()

    def add(part: object) -> None:
        if isinstance(part, Tensor):
            digest.update(f"{part.dtype}{tuple(part.shape)}".encode())
            digest.update(part.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        elif is_dataclass(part):
            add([type(part).__name__, *(getattr(part, field.name) for field in fields(part))])
        elif isinstance(part, Sequence) and not isinstance(part, str):
            digest.update(f"[{len(part)}".encode())
            for one in part:
                add(one)
        else:
            digest.update(f"{type(part).__name__}:{part!r};".encode())

    add(parts)
    return digest.hexdigest()[:16]


def weights_sample(*models: nn.Module) -> list[Tensor]:
    """The first numbers of every weight as it is used: enough to tell models apart, LoRAs merged into them included."""
    return [weight.detach().flatten()[:4].float().cpu() for model in models for weight in model.parameters()]


def training_file(folder: Path, name: str, settings: str) -> Path:
    """Where a training of NAME with this `fingerprint` keeps its state: trainings with other settings have others."""
    return folder / f"{name}-{settings}{CHECKPOINT_SUFFIX}"


def save_training(path: Path, state: TrainingState, settings: str) -> None:
    """Writes the state of the training with this `fingerprint` of all its settings; whole or not at all."""
    values = {field.name: getattr(state, field.name) for field in fields(state)}
    tensors = {name: values.pop(name).contiguous().cpu().clone() for name in TENSORS}
    content = save(tensors, {"settings": settings, "state": json.dumps(values)})
    with unfinished_file(path) as unfinished:
        unfinished.write_bytes(content)


def load_training(path: Path, settings: str) -> TrainingState | None:
    """The state that a training with these very settings was left in; None if there is none."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("settings") != settings:
                return None
            tensors = {name: file.get_tensor(name).clone() for name in TENSORS}  # not the file's own memory
    except (OSError, SafetensorError):
        return None
    values = json.loads(metadata["state"])
    return TrainingState(**tensors, **values | {name: tuple(values[name]) for name in ("losses", "checks")})
