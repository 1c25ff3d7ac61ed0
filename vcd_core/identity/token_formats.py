"""ID tokens and the textual inversions of other tools: every layout in which one subject's vectors are published."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..files import read_pickle
from .token import VECTORS_KEY, IDToken, save_id_token, token_from_metadata

TOKEN_SUFFIXES = (".safetensors", ".pt", ".bin")
A1111_KEY = "string_to_param"
KOHYA_KEY = "emb_params"
OTHER_ENCODERS = {"clip_g": "SDXL", "t5xxl": "SD3 or Flux"}


def load_id_token(path: Path) -> IDToken:
    """Reads an ID token, ours or a textual inversion of another tool. Nothing in a file is executed.

        ours                 .safetensors        {"clip_l": (n, D)}
        A1111, Magic-Me      .pt, .bin           {"string_to_param": {"*": (n, D)}, ...}
        kohya's sd-scripts   .safetensors, .pt   {"emb_params": (n, D)}
        diffusers            .safetensors, .bin  {"<id>": (D,) or (n, D)}

    What a file does not say (mostly the noun) is empty. Floating-point vectors of any precision become float32.

    Raises:
        ValueError: no such file, damaged, made for another kind of model, or not the vectors of one subject.
    """
    try:
        if path.suffix == ".safetensors":
            token = _from_safetensors(path)
        else:
            token = _from_pickle(path, read_pickle(path, also=[torch.nn.ParameterDict]))
    except (OSError, SafetensorError) as error:
        raise ValueError(f"the ID token {path} cannot be read ({error}): copy it again or retrain it") from error
    except ValueError as error:
        raise ValueError(f"{path} holds no ID token that can be read: {error}") from error
    vectors = token.vectors.detach()
    if vectors.ndim == 1:
        vectors = vectors[None]
    if vectors.ndim != 2 or not vectors.is_floating_point() or 0 in vectors.shape:
        raise ValueError(f"{path} holds no ID token: its vectors are {tuple(vectors.shape)} {vectors.dtype}")
    vectors = vectors.to(torch.float32, copy=True)  # not the file's own memory, which may be written anew
    if not torch.isfinite(vectors).all():
        raise ValueError(f"the vectors of {path} are not finite: it is damaged, or its training diverged")
    return replace(token, vectors=vectors)


def convert_id_token(source: Path, folder: Path, *, name: str = "", noun: str = "", overwrite: bool = False) -> Path:
    """Writes any token that `load_id_token` reads as `folder/NAME.safetensors`; returns where.

    Args:
        name: by default the source's own.
        noun: the class of the subject, by default what the source says; other tools' files do not say it.

    Raises:
        ValueError: from `load_id_token` and `save_id_token`.
    """
    token = load_id_token(source)
    return save_id_token(
        replace(token, name=name or token.name, noun=noun.strip() or token.noun), folder, overwrite=overwrite
    )


def _from_safetensors(path: Path) -> IDToken:
    with safe_open(path, framework="pt") as file:
        vectors = file.get_tensor(_vectors_key(file.keys()))
        return token_from_metadata(path.stem, vectors, file.metadata() or {})


def _from_pickle(path: Path, content: object) -> IDToken:
    if not isinstance(content, Mapping):
        raise ValueError(f"it is a bare {type(content).__name__}, not a table with the vectors of one subject")
    if A1111_KEY not in content:
        tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
        return token_from_metadata(path.stem, tensors[_vectors_key(tensors)], {})
    subjects = content[A1111_KEY]
    if isinstance(subjects, torch.nn.ParameterDict):  # of the first textual inversions; another PyTorch's, maybe
        subjects = vars(subjects).get("_parameters")
    subjects = list(subjects.values()) if isinstance(subjects, Mapping) else []
    if len(subjects) != 1 or not isinstance(subjects[0], Tensor):
        raise ValueError(f'its "{A1111_KEY}" holds {len(subjects)} subjects instead of one')
    steps, base = content.get("step"), content.get("sd_checkpoint_name")
    about = {"steps": str(steps or 0), "base": base if isinstance(base, str) else ""}
    return token_from_metadata(path.stem, subjects[0], about)


def _vectors_key(names: Collection[str]) -> str:
    """Under which of these names of tensors the vectors are.

    Raises:
        ValueError: several that could be, or vectors for several text encoders, of which one alone means little.
    """
    for key, models in OTHER_ENCODERS.items():
        if key in names:
            raise ValueError(f'it was made for {models} ("{key}"): take one made for Stable Diffusion 1.5')
    for key in (VECTORS_KEY, KOHYA_KEY):
        if key in names:
            return key
    if not names:
        raise ValueError("there are no tensors in it")
    if len(names) > 1:
        some = ", ".join(sorted(names)[:2])
        raise ValueError(
            f"its {len(names)} tensors ({some}, …) are a checkpoint, a LoRA or several subjects; an ID token is one, "
            f'"{VECTORS_KEY}"'
        )
    (only,) = names
    return only
