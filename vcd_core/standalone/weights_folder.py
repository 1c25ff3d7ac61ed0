"""A folder of weights that ship with the project, and the manifest that says what they must be."""

import hashlib
import json
from collections.abc import Collection
from pathlib import Path

from ..files import sha256_of, unfinished_file

MANIFEST = "manifest.json"


def verified_file(folder: Path, name: str) -> Path:
    """The path of one of the folder's files, which is byte for byte the one that shipped.

    A file is read in full for this once per process, and again when it has changed.

    Raises:
        ValueError: it is missing or another one, or the manifest is; which, and how to get it back.
    """
    expected = _manifest(folder).get(name)
    path = folder / name
    if not path.is_file():
        raise ValueError(_complaint(path, "is missing"))
    if expected is None:
        raise ValueError(f"{folder / MANIFEST} does not list {name}: update ComfyUI-VCD, or install it again")
    size, digest = expected
    status = path.stat()
    if status.st_size != size:
        raise ValueError(_complaint(path, f"is damaged: it should have {size} bytes and has {status.st_size}"))
    found = sha256_of(path)
    if found != digest:
        raise ValueError(_complaint(path, f"is damaged: its SHA-256 should be {digest} and is {found}"))
    return path


def write_manifest(folder: Path) -> Path:
    """Lists every .safetensors file in the folder with its size and SHA-256: `verified_file` accepts these alone."""
    files = {
        path.name: {"size": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(folder.iterdir())
        if path.suffix == ".safetensors"
    }
    with unfinished_file(folder / MANIFEST) as unfinished:
        unfinished.write_text(json.dumps({"files": files}, indent=2) + "\n", encoding="utf-8")
    return folder / MANIFEST


def manifest_fingerprint(folder: Path, names: Collection[str] | None = None) -> str:
    """A text that changes whenever other weights are shipped, or others in the files named; empty without a manifest.

    Raises:
        ValueError: files are named, and the manifest is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return ""
    content = path.read_bytes()
    if names is not None:
        listed = _manifest(folder)
        content = repr([(name, listed.get(name)) for name in sorted(names)]).encode()
    return hashlib.sha256(content).hexdigest()


def _manifest(folder: Path) -> dict[str, tuple[int, str]]:
    """(size, SHA-256) by file name."""
    path = folder / MANIFEST
    if not path.is_file():
        raise ValueError(_complaint(path, "is missing"))
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
        return {name: (int(entry["size"]), str(entry["sha256"])) for name, entry in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(_complaint(path, "is damaged: it is no list of files with their size and SHA-256")) from error


def _complaint(path: Path, what: str) -> str:
    inside = "/".join(path.parts[-3:])  # demo/weights/NAME
    return (
        f"{path} {what}. It comes with ComfyUI-VCD: restore it with `git checkout -- {inside}` in the folder of "
        "ComfyUI-VCD, or install ComfyUI-VCD again"
    )
