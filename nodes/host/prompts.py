"""Prompts that name an ID token."""

import copy
import hashlib
from pathlib import Path

import folder_paths
from comfy.sd import CLIP
from comfy.sd1_clip import SDTokenizer
from torch import Tensor

from ...vcd_core.identity import IDToken, check_token_name, save_id_token
from .folders import DEMO_TOKENS


def clip_with_token(clip: CLIP, token: IDToken) -> CLIP:
    """A CLIP for which `embedding:NAME` is this very token, whatever a file of that name holds by now.

    ComfyUI looks an embedding up when it encodes a prompt. Between a training and that, a node whose result was reused
    has not written its file again, and another training may have replaced it.

    A prompt that names an embedding which cannot be used is an error for it: ComfyUI would write a warning into its
    log and make a picture of somebody else.

    Raises:
        ValueError: a CLIP of another family or width, or a token whose name no prompt can call.
    """
    tokenizer = _tokenizer_of(clip, token)
    try:
        check_token_name(token.name)
    except ValueError as error:  # of another tool's file
        raise ValueError(f"{error}. Rename its file") from error
    result = clip.clone()
    result.tokenizer = copy.copy(clip.tokenizer)
    result.tokenizer.clip_l = _tokenizer_with(tokenizer, _folder_of(token))
    return result


def noun_vectors(clip: CLIP, token: IDToken) -> Tensor:
    """What the text encoder has for the token's noun, (k, D) float32 on the CPU.

    Raises:
        ValueError: a CLIP of another family or width, or a token without a noun.
    """
    if not token.noun.strip():
        raise ValueError(
            f"the file of the ID token {token.name!r} does not say what the subject is, where strength starts from: "
            "leave strength at 1, or convert the file and give its noun"
        )
    tokenizer = _tokenizer_of(clip, token)
    ids = tokenizer.tokenizer(token.noun)["input_ids"][1:-1]  # without start and end
    weight = clip.cond_stage_model.clip_l.transformer.get_input_embeddings().weight
    return weight[ids].detach().float().cpu()


def _tokenizer_of(clip: CLIP, token: IDToken) -> SDTokenizer:
    """The tokenizer of a CLIP that the token fits; ValueError for any other."""
    tokenizer = getattr(clip.tokenizer, "clip_l", None)
    width = getattr(tokenizer, "embedding_size", None)
    if not hasattr(clip.tokenizer, "clip") or width != token.vectors.shape[1]:
        raise ValueError(
            f"the ID token {token.name!r} has vectors of {token.vectors.shape[1]} numbers"
            + (f", trained on {token.base}" if token.base else "")
            + f", and the clip takes {width or 'none of them'}: connect the CLIP of a checkpoint that it fits"
        )
    return tokenizer


def _tokenizer_with(tokenizer: SDTokenizer, folder: Path) -> SDTokenizer:
    """A tokenizer that looks into this folder before its own, and raises for what it cannot use."""
    here, result = copy.copy(tokenizer), copy.copy(tokenizer)
    here.embedding_directory = [str(folder)]
    if tokenizer.embedding_directory is None:  # ComfyUI would not look anything up
        result.embedding_directory = []

    def look_up(text: str) -> tuple:
        if not text.strip():
            raise ValueError('a prompt says "embedding:" without a name: write embedding:NAME, without a space')
        found = type(tokenizer)._try_get_embedding(here, text.removeprefix(f"{DEMO_TOKENS}/"))
        if found[0] is None and tokenizer.embedding_directory is not None:
            found = tokenizer._try_get_embedding(text)
        _check_found(found[0], text.split()[0].rstrip(","), tokenizer)
        return found

    result._try_get_embedding = look_up
    return result


def _check_found(embedding: Tensor | None, name: str, tokenizer: SDTokenizer) -> None:
    if embedding is None:
        folders = tokenizer.embedding_directory or []
        folders = [folders] if isinstance(folders, str) else folders
        raise ValueError(
            f"a prompt names embedding:{name}, and {', '.join(folders) or 'the folder of embeddings'} holds no such "
            "file that can be read: check the name, which ends at a space or comma, train it, or put its file there"
        )
    width = embedding.shape[-1]
    if width != tokenizer.embedding_size:
        raise ValueError(
            f"a prompt names embedding:{name}, whose vectors have {width} numbers, and the clip takes "
            f"{tokenizer.embedding_size}: it was made for another kind of model; take it out, or load one it fits"
        )


def _folder_of(token: IDToken) -> Path:
    """A folder that holds this token alone, until ComfyUI ends; equal tokens share it."""
    content = f"{token.name} {token.vectors.tolist()}".encode()
    folder = Path(folder_paths.get_temp_directory()) / "vcd_tokens" / hashlib.sha256(content).hexdigest()[:32]
    save_id_token(token, folder, overwrite=True)
    return folder
