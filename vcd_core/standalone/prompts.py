"""Prompts with learned subjects in them."""

import re
from pathlib import Path

from torch import Tensor

from ..identity import TOKEN_SUFFIXES, check_token_name, load_id_token
from .tokenizer import check_length, clip_tokenizer

_SUBJECT = re.compile(r"""embedding:([^\s,()]*?)(?=[.!?;:'"]*(?:[\s,()]|$))""", re.IGNORECASE)
_OPENING, _CLOSING = "\0", "\1"  # stand for parentheses that belong to no weight
_WEIGHTED = re.compile(r"\((.*)\)", re.DOTALL)
_WEIGHT = re.compile(r":\s*[\d.]+\s*\)")


def parse_prompt(prompt: str, embeddings: Path | None) -> list[str | Tensor]:
    """The prompt in pieces, each `embedding:NAME` replaced by the vectors of that ID token in the folder.

    The notation is ComfyUI's, so the same text works there.

    Raises:
        ValueError: an unknown name, a file that is no ID token, ComfyUI's (word:1.2), which is not known here, or more
            than the text encoder takes.
    """
    if weighted := _WEIGHT.search(prompt):
        raise ValueError(
            f"the prompt has a weight, {weighted.group().strip()!r}: only ComfyUI knows (word:1.2), take it out"
        )
    pieces: list[str | Tensor] = []
    end = 0
    for subject in _SUBJECT.finditer(prompt):
        name = check_token_name(subject[1].removesuffix(".safetensors"))
        pieces += [prompt[end : subject.start()], _vectors(name, embeddings)]
        end = subject.end()
    pieces.append(prompt[end:])
    check_length(pieces, clip_tokenizer())
    return pieces


def tokens_in(prompt: str, embeddings: Path | None) -> dict[str, Path]:
    """The file of each ID token that a prompt names; raises ValueError where there is none."""
    names = (check_token_name(subject[1].removesuffix(".safetensors")) for subject in _SUBJECT.finditer(prompt))
    return {name: _file(name, embeddings) for name in names}


def without_tokens(prompt: str) -> str:
    r"""A prompt for text encoders that know only words: without `embedding:NAME`, but with the noun behind it, and
    without weights and their parentheses, `(words:1.2)`. Both as ComfyUI reads them, so `\(` is a parenthesis."""
    escaped = prompt.replace(r"\(", _OPENING).replace(r"\)", _CLOSING)
    words = " ".join(_unweighted(_SUBJECT.sub("", escaped)).split())
    return words.replace(_OPENING, "(").replace(_CLOSING, ")")


def prompt_of_token(name: str, embeddings: Path | None) -> str:
    """What to write for a token's subject: its name and its noun; raises ValueError where there is none."""
    return load_id_token(_file(check_token_name(name), embeddings)).prompt


def _unweighted(prompt: str) -> str:
    """Without weights; a space wherever one begins or ends, since ComfyUI reads what is between by itself."""
    parts, depth = [""], 0
    for letter in prompt:
        if letter == "(" and depth == 0:
            parts.append("")
        parts[-1] += letter
        depth += (letter == "(") - (letter == ")")
        if letter == ")" and depth == 0:
            parts.append("")
    return " ".join(
        _unweighted(_without_weight(match[1])) if (match := _WEIGHTED.fullmatch(part)) else part for part in parts
    )


def _without_weight(words: str) -> str:
    before, _, weight = words.rpartition(":")
    try:
        float(weight)
    except ValueError:
        return words
    return before or words


def _vectors(name: str, embeddings: Path | None) -> Tensor:
    return load_id_token(_file(name, embeddings)).vectors


def _file(name: str, embeddings: Path | None) -> Path:
    if embeddings is None:
        raise ValueError(f"the prompt names embedding:{name}: say in which folder the ID tokens are")
    if not embeddings.is_dir():
        raise ValueError(f"there is no folder {embeddings} to take embedding:{name} from")
    files = {path.stem: path for suffix in reversed(TOKEN_SUFFIXES) for path in embeddings.glob(f"*{suffix}")}
    if name not in files:
        names = ", ".join(sorted(files)) or "none, train one first"
        raise ValueError(f"there is no embedding {name!r} in {embeddings}; it has: {names}")
    return files[name]
