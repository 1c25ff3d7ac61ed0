"""What a clip was made of, kept beside it as OUTPUT.json: the settings, the seed, the hashes of models and tokens."""

import argparse
import json
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..files import sha256_of, unfinished_file
from .prompts import tokens_in

FILES = (
    "checkpoint",
    "motion_module",
    "motion_lora",
    "controlnet",
    "hint",
    "tile_controlnet",
    "detector_file",
    "video",
    "reference",
)
PROMPTS = ("prompt", "negative", "face_prompt", "tile_prompt")


def record_of(arguments: argparse.Namespace) -> dict:
    """What decides what a command of `vcd` makes: its options, and SHA-256 of the files that they name.

    Not hashed are folders, models that a package brings or that are named by a Hugging Face id.

    Raises:
        ValueError: a prompt names a token that is not there.
    """
    options = {name: value for name, value in sorted(vars(arguments).items()) if name not in ("command", "output")}
    files = {}
    for name in FILES:
        named = getattr(arguments, name, None)
        for number, file in enumerate(named if isinstance(named, list) else [named], 1):
            path = file[0] if isinstance(file, tuple) else file
            if path is not None and path.is_file():
                files[f"{name} {number}" if isinstance(named, list) else name] = sha256_of(path)
    tokens: dict[str, Path] = {}
    for name in PROMPTS:
        words = getattr(arguments, name, None) or []
        for prompt in [words] if isinstance(words, str) else words:
            tokens |= tokens_in(prompt, arguments.embeddings)
    return {
        "command": arguments.command,
        "settings": json.loads(json.dumps(options, default=str)),
        "files": files,
        "tokens": {name: sha256_of(file) for name, file in sorted(tokens.items())},
    }


def record_file(output: Path) -> Path:
    return output.with_name(f"{output.name}.json")


def forget_record(output: Path) -> None:
    """Before a clip is written anew: no record of another one may lie beside it, whatever happens."""
    record_file(output).unlink(missing_ok=True)


def write_record(output: Path, record: Mapping, seconds: float, lines: list[str] | None = None) -> Path:
    """Writes what `record_of` gave beside the clip.

    Args:
        seconds: that it took.
        lines: what was said of it.
    """
    path = record_file(output)
    about = {
        "file": output.name,
        "bytes": output.stat().st_size,
        "vcd": _version(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        **record,
        "report": lines or [],
    }
    with unfinished_file(path) as unfinished:
        unfinished.write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def is_made(output: Path, record: Mapping) -> bool:
    """Whether a clip is there that was made of just this."""
    path = record_file(output)
    if not output.is_file() or not path.is_file():
        return False
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    if not isinstance(there, dict) or there.get("bytes") != output.stat().st_size:
        return False
    return all(there.get(name) == value for name, value in record.items())


def _version() -> str:
    try:
        return version("comfyui-vcd")
    except PackageNotFoundError:
        return "from a folder"
