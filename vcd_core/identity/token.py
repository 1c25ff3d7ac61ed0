"""The file that carries an identity: n token vectors and where they came from."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..files import unfinished_file

VECTORS_KEY = "clip_l"


@dataclass(frozen=True)
class IDToken:
    """A learned subject.

    Attributes:
        name: of the file without its suffix; in a ComfyUI prompt `embedding:NAME`.
        vectors: (n, D) float32, inputs of the text encoder; D is 768 for Stable Diffusion 1.5.
        noun: the class the subject belongs to, such as "woman" or "cat".
        steps: how many training steps made it.
        base: what it was trained on.
        date: of the training, ISO 8601.
    """

    name: str
    vectors: Tensor
    noun: str
    steps: int
    base: str = ""
    date: str = ""

    @property
    def prompt(self) -> str:
        """What to write into a prompt where the subject shall appear."""
        return f"embedding:{self.name} {self.noun}"


def check_token_name(name: str) -> str:
    """Returns the name if a prompt can call it and it names a file inside its folder, nothing else.

    Raises:
        ValueError: path separators, spaces, or other characters that end a name in a prompt.
    """
    if not re.fullmatch(r"[\w-]{1,64}", name):
        raise ValueError(
            f"the token name {name!r} cannot be used: take 1 to 64 letters, digits, '-' or '_', "
            "without spaces, dots or folders"
        )
    return name


def save_id_token(token: IDToken, folder: Path, *, overwrite: bool = False) -> Path:
    """Writes `folder/NAME.safetensors` as {"clip_l": (n, D) float32} with metadata; all of it or nothing.

    Raises:
        ValueError: an unusable name, vectors that are not finite, or an existing file without `overwrite`.
    """
    path = folder / f"{check_token_name(token.name)}.safetensors"
    if path.exists() and not overwrite:
        raise ValueError(f"{path} exists already: choose another name or allow overwriting")
    if not torch.isfinite(token.vectors).all():
        raise ValueError(f"the vectors of {token.name!r} are not finite; nothing was written")
    metadata = {
        "format": "pt",
        "noun": token.noun,
        "steps": str(token.steps),
        "base": token.base,
        "date": token.date,
    }
    content = save({VECTORS_KEY: token.vectors.float().contiguous().cpu()}, metadata)
    with unfinished_file(path) as unfinished:
        unfinished.write_bytes(content)  # save_file would give it permissions for its owner alone
    return path


def save_partial_id_token(token: IDToken, folder: Path) -> Path:
    """Keeps the vectors of a training that broke off, as `NAME_partial`: never in the place of a finished token."""
    return save_id_token(replace(token, name=f"{token.name[:56]}_partial"), folder, overwrite=True)


def load_id_token(path: Path) -> IDToken:
    """Reads what `save_id_token` wrote.

    Raises:
        ValueError: no such file, damaged, or without "clip_l" vectors.
    """
    try:
        with safe_open(path, framework="pt") as file:
            if VECTORS_KEY not in file.keys():  # noqa: SIM118 (a safetensors file is not iterable)
                raise ValueError(
                    f'{path} holds no ID token: expected vectors named "{VECTORS_KEY}", found {list(file.keys())[:5]}'
                )
            vectors = file.get_tensor(VECTORS_KEY)
            metadata = file.metadata() or {}
            if vectors.ndim != 2 or not vectors.is_floating_point():
                raise ValueError(f"{path} holds no ID token: its vectors are {tuple(vectors.shape)} {vectors.dtype}")
    except (OSError, SafetensorError) as error:
        raise ValueError(f"the ID token {path} cannot be read ({error}): copy it again or retrain it") from error
    return IDToken(
        name=path.stem,
        vectors=vectors.float(),
        noun=metadata.get("noun", ""),
        steps=int(steps) if (steps := metadata.get("steps", "")).isdecimal() else 0,
        base=metadata.get("base", ""),
        date=metadata.get("date", ""),
    )
