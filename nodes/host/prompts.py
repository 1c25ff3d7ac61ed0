"""Prompts that name an ID token."""

import copy
import hashlib
from pathlib import Path

import folder_paths
from comfy.sd import CLIP
from comfy.sd1_clip import SDTokenizer

from ...vcd_core.identity import IDToken, save_id_token


def clip_with_token(clip: CLIP, token: IDToken) -> CLIP:
    """A CLIP for which `embedding:NAME` is this very token, whatever a file of that name holds by now.

    ComfyUI looks an embedding up when it encodes a prompt. Between a training and that, a node whose result was reused
    has not written its file again, and another training may have replaced it.

    Raises:
        ValueError: a CLIP of another family or width.
    """
    tokenizer = getattr(clip.tokenizer, "clip_l", None)
    width = getattr(tokenizer, "embedding_size", None)
    if not hasattr(clip.tokenizer, "clip") or width != token.vectors.shape[1]:
        raise ValueError(
            f"the ID token {token.name!r} has vectors of {token.vectors.shape[1]} numbers"
            + (f", trained on {token.base}" if token.base else "")
            + f", and the clip takes {width or 'none of them'}: connect the CLIP of a checkpoint that it fits"
        )
    result = clip.clone()
    result.tokenizer = copy.copy(clip.tokenizer)
    result.tokenizer.clip_l = _tokenizer_with(tokenizer, _folder_of(token))
    return result


def _tokenizer_with(tokenizer: SDTokenizer, folder: Path) -> SDTokenizer:
    """A tokenizer that looks into this folder before its own."""
    here, result = copy.copy(tokenizer), copy.copy(tokenizer)
    here.embedding_directory = [str(folder)]

    def look_up(name: str) -> tuple:
        found = type(tokenizer)._try_get_embedding(here, name)
        return found if found[0] is not None else tokenizer._try_get_embedding(name)

    result._try_get_embedding = look_up
    return result


def _folder_of(token: IDToken) -> Path:
    """A folder that holds this token alone, until ComfyUI ends; equal tokens share it."""
    content = f"{token.name} {token.vectors.tolist()}".encode()
    folder = Path(folder_paths.get_temp_directory()) / "vcd_tokens" / hashlib.sha256(content).hexdigest()[:32]
    save_id_token(token, folder, overwrite=True)
    return folder
