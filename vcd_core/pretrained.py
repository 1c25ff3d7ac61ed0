"""Models in the layout of transformers, from a folder or from the Hugging Face hub."""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from torch import nn

CONFIG, WEIGHTS, PROCESSOR, TOKENIZER = "config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"
HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
VERSION = "transformers 4.50.3 or newer"


@dataclass(frozen=True)
class Layout:
    """What a folder of a model must hold.

    Attributes:
        name: what users call the model.
        kinds: the `model_type` of its config.json that will do.
        files: what it needs, in words.
        needed: of each of these one file must be there.
        example: a repository of such a model.
    """

    name: str
    kinds: Collection[str]
    files: str
    needed: Sequence[Sequence[str]]
    example: str


def load_pretrained(
    source: Path | str,
    layout: Layout,
    read: Callable[[Path | str, str, Mapping], tuple[nn.Module, Mapping, object]],
) -> tuple[nn.Module, object]:
    """A network in float32 and evaluation mode, and its processor. No code of the folder's is run.

    Args:
        source: a folder as `save_pretrained` writes it (a Path), or the id of such a repository on the Hugging Face
            hub (a str), which is taken from the local cache or downloaded to it.
        read: (source, model_type, options of `from_pretrained`) -> the network, its loading info, the processor.

    Raises:
        ValueError: a file is missing or damaged, or it is another model; the message says which, and what to do.
        ImportError: transformers is not installed or too old.
    """
    is_folder = isinstance(source, Path)
    if is_folder:
        _check_folder(source, layout)
    elif not HUB_ID.fullmatch(source):
        raise ValueError(f"{source!r} is no Hugging Face id: write owner/name, such as {layout.example}")
    try:
        from transformers import AutoConfig
    except ImportError as error:
        raise ImportError(f"{layout.name} needs {VERSION}: pip install -U transformers") from error

    options = {"local_files_only": is_folder, "trust_remote_code": False}
    with _faults_told(source, layout):
        kind = AutoConfig.from_pretrained(source, **options).model_type
    _check_kind(kind, source, layout)
    with _faults_told(source, layout):
        network, report, processor = read(source, kind, options)
        # transformers only warns, and draws what is missing at random.
        if missing := sorted(report["missing_keys"]):
            raise ValueError(f"its weights lack {len(missing)} of {layout.name}'s, such as {missing[0]}")
    return network.float().eval().requires_grad_(False), processor


@contextmanager
def _faults_told(source: Path | str, layout: Layout) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ImportError(f"{layout.name} needs {VERSION} and what belongs to it ({error})") from error
    # Undocumented: what transformers was seen to raise on missing, damaged and foreign files.
    except (
        OSError,
        ValueError,
        RuntimeError,
        LookupError,
        TypeError,
        AttributeError,
        SafetensorError,
    ) as error:
        reason = str(error).strip().partition("\n")[0]
        if isinstance(source, Path):
            cure = f"it needs {layout.files}; download them again"
        else:
            cure = f"check the id and the connection, or give a folder with {layout.files}"
        raise ValueError(f"{layout.name} could not be loaded from {source} ({reason}): {cure}") from error


def _check_kind(kind: str, source: Path | str, layout: Layout) -> None:
    if kind not in layout.kinds:
        raise ValueError(
            f"{layout.name} could not be loaded from {source}: its {CONFIG} is of a model of the kind {kind!r}, not "
            f"{' or '.join(sorted(layout.kinds))}; take a {layout.name}, such as {layout.example}"
        )


def _check_folder(folder: Path, layout: Layout) -> None:
    if not folder.is_dir():
        raise ValueError(f"there is no {layout.name} folder {folder}: create it with {layout.files}")
    if (kind := _kind_of(folder)) is not None:  # first: another model lacks files that it does not need
        _check_kind(kind, folder, layout)
    for names in layout.needed:
        if not any((folder / name).is_file() for name in names):
            raise ValueError(
                f"there is no {' or '.join(names)} in the {layout.name} folder {folder}: it needs {layout.files}"
            )


def _kind_of(folder: Path) -> str | None:
    """What its config.json says; None where it says nothing that can be read."""
    try:
        kind = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return kind if isinstance(kind, str) else None
