"""A folder of ID tokens: which are in it, and under which name one more goes."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import count, takewhile
from pathlib import Path

from .token import LONGEST_NAME, IDToken, check_token_name, save_id_token
from .token_formats import TOKEN_SUFFIXES, load_id_token


def id_tokens_in(folder: Path) -> list[IDToken]:
    """Every ID token of a folder by name, of whatever tool; files that hold none are passed over.

    Raises:
        ValueError: no such folder.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}: name the folder that holds the ID tokens")
    tokens = []
    for path in sorted(folder.iterdir(), key=lambda path: path.name.lower()):
        if path.suffix in TOKEN_SUFFIXES:
            try:
                tokens.append(load_id_token(path))
            except ValueError:
                continue
    return tokens


def find_id_token(folder: Path, name: str, fingerprint: str) -> IDToken | None:
    """The first of NAME, NAME_2, NAME_3, … up to a free name that was trained with the settings of this fingerprint.

    Raises:
        ValueError: an unusable name.
    """
    for candidate in takewhile(partial(_is_taken, folder), _names(check_token_name(name))):
        try:
            token = load_id_token(folder / f"{candidate}.safetensors")
        except ValueError:
            continue
        if token.fingerprint == fingerprint != "":
            return token
    return None


def save_or_reuse_id_token(token: IDToken, folder: Path) -> Path:
    """Saves a token without taking another's place; the stem of the path is the name that it has got.

    Where `find_id_token` finds it, nothing is written. Otherwise it gets the first of NAME, NAME_2, NAME_3, … that is
    free of any tool's file.

    Raises:
        ValueError: an unusable name, or vectors that are not finite.
    """
    if (same := find_id_token(folder, token.name, token.fingerprint)) is not None:
        return folder / f"{same.name}.safetensors"
    free = next(name for name in _names(check_token_name(token.name)) if not _is_taken(folder, name))
    return save_id_token(replace(token, name=free), folder)


def save_partial_id_token(token: IDToken, folder: Path) -> Path:
    """Keeps the vectors of a training that broke off, as `NAME_partial`, in place of older ones of that training alone.

    Its fingerprint is another than the finished token's, so that it is never taken for that, whatever it is renamed to.
    """
    fingerprint = token.fingerprint and f"{token.fingerprint} partial"
    token = replace(token, name=f"{token.name[:56]}_partial", fingerprint=fingerprint)
    older = find_id_token(folder, token.name, fingerprint)
    if older is None:
        return save_or_reuse_id_token(token, folder)
    return save_id_token(replace(token, name=older.name), folder, overwrite=True)


def _names(name: str) -> Iterator[str]:
    yield name
    for number in count(2):
        yield f"{name[: LONGEST_NAME - 1 - len(str(number))]}_{number}"


def _is_taken(folder: Path, name: str) -> bool:
    return any((folder / f"{name}{suffix}").exists() for suffix in TOKEN_SUFFIXES)
