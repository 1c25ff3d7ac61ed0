"""The file that carries an identity: n token vectors and where they came from."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from ..files import unfinished_file

VECTORS_KEY = "clip_l"
SD15_WIDTH = 768
LONGEST_NAME = 64
TEXTS = ("noun", "base", "date", "fingerprint", "settings")
THUMBNAIL_KEY = "modelspec.thumbnail"
THUMBNAIL_START = "data:image/jpeg;base64,"
COVERS_KEY = "ssmd_cover_images"  # where ComfyUI looks for a model's preview


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
        fingerprint: the same for two trainings with the same photos, model and settings; "" if it is not known.
        settings: the training's settings, for people to read.
        losses: of the training's steps, for its curve; () if they are not known.
        thumbnail: a small JPEG of the subject, b"" if there is none.
    """

    name: str
    vectors: Tensor
    noun: str
    steps: int
    base: str = ""
    date: str = ""
    fingerprint: str = ""
    settings: str = ""
    losses: tuple[float, ...] = ()
    thumbnail: bytes = b""

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
    content = save({VECTORS_KEY: token.vectors.float().contiguous().cpu()}, _metadata(token))
    with unfinished_file(path) as unfinished:
        unfinished.write_bytes(content)  # save_file would give it permissions for its owner alone
    return path


def token_from_metadata(name: str, vectors: Tensor, metadata: Mapping[str, str]) -> IDToken:
    """The token that `save_id_token` wrote; what another tool's file does not say is empty."""
    steps = metadata.get("steps", "")
    return IDToken(
        name=name,
        vectors=vectors,
        steps=int(steps) if steps.isdecimal() else 0,
        losses=_decode_losses(metadata.get("losses", "")),
        thumbnail=_decode_thumbnail(metadata.get(THUMBNAIL_KEY, "")),
        **{key: metadata.get(key, "") for key in TEXTS},
    )


def _metadata(token: IDToken) -> dict[str, str]:
    """What `token_from_metadata` reads, and what other programs look for, under their names.

    Those of Stability's ModelSpec (github.com/Stability-AI/ModelSpec) claim Stable Diffusion 1.5, so only its tokens
    carry them; a thumbnail may stand alone.
    """
    metadata = {"format": "pt", "steps": str(token.steps), **{key: getattr(token, key) for key in TEXTS}}
    if token.vectors.shape[1] == SD15_WIDTH:
        metadata |= {
            "modelspec.sai_model_spec": "1.0.1",
            "modelspec.architecture": "stable-diffusion-v1/textual-inversion",
            "modelspec.implementation": "ComfyUI",
            "modelspec.title": token.name,
            "modelspec.trigger_phrase": token.prompt,
            **({"modelspec.date": token.date} if token.date else {}),
        }
    if token.losses:
        metadata["losses"] = json.dumps([round(loss, 5) for loss in token.losses])
    if token.thumbnail:
        encoded = base64.b64encode(token.thumbnail).decode()
        metadata |= {THUMBNAIL_KEY: THUMBNAIL_START + encoded, COVERS_KEY: json.dumps([encoded])}
    return metadata


def _decode_losses(text: str) -> tuple[float, ...]:
    """() for anything but a list of numbers: a curve is no reason to refuse a token."""
    try:
        return tuple(float(loss) for loss in json.loads(text))
    except (ValueError, TypeError):
        return ()


def _decode_thumbnail(uri: str) -> bytes:
    """b"" for anything but a JPEG in a data URI: a thumbnail is no reason to refuse a token."""
    if not uri.startswith(THUMBNAIL_START):
        return b""
    try:
        return base64.b64decode(uri.removeprefix(THUMBNAIL_START))
    except binascii.Error:
        return b""
