"""Files: written whole or not at all, and read without running what is in them."""

import functools
import hashlib
import os
import pickle
import pickletools
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

SAFE_TORCH = (2, 6)


@contextmanager
def unfinished_file(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; it becomes `path` when the block ends, and vanishes when the block fails.

    Raises:
        OSError: it cannot be written; names `path`, as the system's own error of a full disk does not.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield unfinished
        unfinished.replace(path)
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        unfinished.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Raises ValueError for a folder that is not there and cannot be made, or that nothing can be written to."""
    there = next(part for part in (folder, *folder.parents) if part.exists() or part.is_symlink())
    if not there.is_dir():
        raise ValueError(f"{there} is a file, name a folder")
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise ValueError(
            f"nothing can be written to {there} ({error.strerror}): allow it, or name another folder"
        ) from error


def sha256_of(path: Path) -> str:
    """A file's SHA-256 in hexadecimal; read once per process, and again when it has changed."""
    status = path.stat()
    return _sha256(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=256)
def _sha256(path: Path, _modified: int, _size: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(2**22):
            digest.update(block)
    return digest.hexdigest()


def read_tensors(path: Path) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    """A file's tensors, without "state_dict" around and "module." before them, and its safetensors metadata.

    Tensors are mapped from the file where its format allows. Nothing in the file is ever executed.

    Raises:
        ValueError: the file is missing, empty, damaged, or holds Python objects besides tensors.
    """
    metadata: Mapping[str, str] = {}
    if path.suffix == ".safetensors":
        _check_there(path)
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                content = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(f"{path.name} is damaged or no safetensors file: download it again ({error})") from error
    else:
        content = read_pickle(path)
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} holds a {type(content).__name__}, not a table of weights")
    tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    return {str(key).removeprefix("module."): value for key, value in tensors.items()}, metadata


def read_pickle(path: Path, also: Sequence[type] = ()) -> object:
    """What torch.save wrote: tensors, numbers, texts, and tables and lists of these; nothing in it is executed.

    Args:
        also: further classes that may occur; their objects come back with their attributes as they were saved.

    Raises:
        ValueError: the file is missing, empty, damaged, or holds other Python objects.
    """
    _check_there(path)
    if tuple(map(int, torch.__version__.split(".")[:2])) < SAFE_TORCH:
        raise ValueError(
            f"{path.name} is a pickle, which PyTorch {torch.__version__} cannot read safely (CVE-2025-32434): update "
            "PyTorch to 2.6 or newer, or use a .safetensors file of the same model"
        )
    try:
        with torch.serialization.safe_globals(list(also)), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        found = any(sign in str(error) for sign in ("Unsupported global", "Unsupported class", "Trying to"))
        if found or _is_pickle(path):  # of the protocols that PyTorch does not write
            what = "holds" if found else "is a pickle of a kind that is not read here, and may hold"
            raise ValueError(
                f"{path.name} {what} Python objects besides tensors. Loading it could run code, so it was"
                " refused: use a .safetensors file of the same model"
            ) from error
        raise ValueError(f"{path.name} is damaged or no PyTorch file: download it again") from error
    # Undocumented: what torch's readers were seen to raise, or can raise, on arbitrary bytes.
    except (
        OSError,
        RuntimeError,
        EOFError,
        KeyError,
        IndexError,
        ValueError,
        TypeError,
        AttributeError,
        AssertionError,
    ) as error:
        raise ValueError(f"{path.name} is damaged or no PyTorch file: download it again") from error


def _is_pickle(path: Path) -> bool:
    """Whether a file, or torch.save's part of an archive, is a whole pickle; it is looked through, not run."""
    with ExitStack() as opened:
        stream = opened.enter_context(path.open("rb"))
        try:
            if zipfile.is_zipfile(path):
                archive = opened.enter_context(zipfile.ZipFile(path))
                name = next((name for name in archive.namelist() if name.endswith("data.pkl")), None)
                if name is None:
                    return False
                stream = opened.enter_context(archive.open(name))
            return any(operation.name == "STOP" for operation, _, _ in pickletools.genops(stream))
        except (ValueError, EOFError, zipfile.BadZipFile):
            return False


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise ValueError(f"there is no file {path.name} in {path.parent}: check the name")
    if path.stat().st_size == 0:
        raise ValueError(f"{path.name} is empty: download it again")
