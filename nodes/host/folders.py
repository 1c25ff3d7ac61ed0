"""Where ComfyUI keeps the files that the nodes offer."""

import json
import os
from collections.abc import Collection
from pathlib import Path

import folder_paths

from ...vcd_core.identity import TOKEN_SUFFIXES
from ...vcd_core.identity.photos import PHOTO_SUFFIXES
from ...vcd_core.pretrained import CONFIG, Layout
from ...vcd_core.vision.grounding_dino import FILES as GROUNDING_DINO_FILES

MOTION_MODULES = "animatediff_models"
MOTION_LORAS = "animatediff_motion_lora"
EMBEDDINGS = "embeddings"
DEMO_TOKENS = "vcd_demo"  # the folder in there for tokens of the demo model
SAMS = "sams"
GROUNDING_DINO = "grounding-dino"
DETECTION = "detection"
CLIP_VISION = "clip_vision"
INSIGHTFACE = "insightface"
INSIGHTFACE_HOME = Path("~/.insightface")  # where the package itself keeps its models
SHIPPED_PHOTOS = Path(__file__).resolve().parents[2] / "demo" / "photos"
SHIPPED_NOUNS = {"mia": "woman", "otto": "man", "bolt": "robot", "kit": "cat"}


def model_files(kind: str) -> list[str]:
    """The files of a model folder, `extra_model_paths.yaml` included; the folder is made known if it is not."""
    _make_known(kind)
    folder_paths.folder_names_and_paths[kind][1].update(folder_paths.supported_pt_extensions)
    return folder_paths.get_filename_list(kind)


def _make_known(kind: str) -> None:
    default = Path(folder_paths.models_dir) / kind
    default.mkdir(parents=True, exist_ok=True)
    folder_paths.add_model_folder_path(kind, str(default))


def check_model_file(kind: str, name: str | None, what: str) -> bool | str:
    """True if the model folder offers the file, or a link will name it (None); else what a user should do."""
    if name is None or name in model_files(kind):
        return True
    folders = ", ".join(folder_paths.get_folder_paths(kind))
    return f"the {what} {name!r} was not found: put it into {folders} and reload the page"


def model_path(kind: str, name: str) -> Path:
    return Path(folder_paths.get_full_path_or_raise(kind, name))


def grounding_dino_folders() -> dict[str, Path]:
    """The folders below models/grounding-dino that hold a model in transformers' layout, by their path from there."""
    return _pretrained_folders(GROUNDING_DINO)


def _pretrained_folders(kind: str) -> dict[str, Path]:
    _make_known(kind)
    return {
        Path(folder).relative_to(root).as_posix(): Path(folder)
        for root in folder_paths.get_folder_paths(kind)
        for folder, _, files in sorted(os.walk(root, followlinks=True))
        if CONFIG in files and folder != root
    }


def vision_folders(layout: Layout) -> dict[str, Path]:
    """The folders below models/clip_vision that hold such a model in transformers' layout, by their path from there."""
    folders = _pretrained_folders(CLIP_VISION)
    return {name: folder for name, folder in folders.items() if _may_be(folder / CONFIG, layout.kinds)}


def _may_be(config: Path, kinds: Collection[str]) -> bool:
    """Whether a config.json is of one of these kinds; one that cannot be read may be of any."""
    try:
        return json.loads(config.read_text(encoding="utf-8"))["model_type"] in kinds
    except (OSError, ValueError, LookupError, TypeError):
        return True


def check_vision_folder(layout: Layout, name: str | None) -> bool | str:
    """True if it is one of `vision_folders`, or a link will name it (None); else what a user should do."""
    return name is None or name in vision_folders(layout) or _no_vision_folder(layout, name)


def vision_folder(layout: Layout, name: str) -> Path:
    """Raises ValueError for a name that is none of `vision_folders`: it could lie anywhere."""
    if (folder := vision_folders(layout).get(name)) is None:
        raise ValueError(_no_vision_folder(layout, name))
    return folder


def _no_vision_folder(layout: Layout, name: str) -> str:
    return (
        f"there is no {layout.name} folder {name!r} in {model_folders(CLIP_VISION)}: make a folder there with the "
        f"files of {layout.example} ({layout.files}) and reload the page, or write that name into the Hugging Face id "
        "to have it downloaded"
    )


def check_grounding_dino_folder(name: str | None) -> bool | str:
    """True if it is one of `grounding_dino_folders`, or a link will name it (None); else what a user should do."""
    return name is None or name in grounding_dino_folders() or _no_grounding_dino(name)


def grounding_dino_folder(name: str) -> Path:
    """Raises ValueError for a name that is none of `grounding_dino_folders`: it could lie anywhere."""
    if (folder := grounding_dino_folders().get(name)) is None:
        raise ValueError(_no_grounding_dino(name))
    return folder


def _no_grounding_dino(name: str) -> str:
    folders = ", ".join(folder_paths.get_folder_paths(GROUNDING_DINO))
    return (
        f"there is no GroundingDINO folder {name!r} in {folders}: make a folder there with the files of "
        f"IDEA-Research/grounding-dino-base ({GROUNDING_DINO_FILES}) and reload the page, or write that name into "
        "hugging_face_id to have it downloaded"
    )


def detection_files() -> dict[str, Path]:
    """The ONNX files below models/detection, by their path from there."""
    return {
        (Path(folder) / file).relative_to(root).as_posix(): Path(folder) / file
        for root in _folders(DETECTION)
        for folder, _, files in sorted(os.walk(root, followlinks=True))
        for file in sorted(files)
        if file.lower().endswith(".onnx")
    }


def insightface_packs() -> dict[str, Path]:
    """insightface's model packs by name: below models/insightface/models, and below its own folder at home."""
    homes = [*_folders(INSIGHTFACE), str(INSIGHTFACE_HOME.expanduser())]
    return {
        Path(folder).relative_to(root).as_posix(): Path(folder)
        for root in (Path(home) / "models" for home in reversed(homes))
        for folder, _, files in sorted(os.walk(root, followlinks=True))
        if folder != str(root) and any(file.endswith(".onnx") for file in files)
    }


def model_folders(kind: str) -> str:
    """Where files of a kind belong, for a message."""
    return ", ".join(_folders(kind))


def _folders(kind: str) -> list[str]:
    _make_known(kind)
    return folder_paths.get_folder_paths(kind)


def photo_folders() -> dict[str, Path]:
    """What is offered as a folder of photos, and where it is.

    First the folders inside ComfyUI's input folder that hold photos, named by their path with "/" relative to it; then
    the characters that come with the pack. No path has a "//", so the two cannot be taken for each other.
    """
    root = Path(folder_paths.get_input_directory())
    own = sorted(
        Path(folder).relative_to(root).as_posix()
        for folder, _, files in os.walk(root, followlinks=True)
        if any(file.lower().endswith(PHOTO_SUFFIXES) for file in files)
    )
    folders = {name: root / name for name in own if name != "."}
    for name, noun in SHIPPED_NOUNS.items():
        if (SHIPPED_PHOTOS / name).is_dir():
            folders[f"demo://{name} ({noun})"] = SHIPPED_PHOTOS / name
    return folders


def check_photo_folder(name: str | None) -> bool | str:
    """True if it is one of `photo_folders`, or a link will name it (None); else what a user should do."""
    return name is None or name in photo_folders() or _no_photos(name)


def photo_folder(name: str) -> Path:
    """Raises ValueError for a name that is none of `photo_folders`: it could lie anywhere."""
    if (folder := photo_folders().get(name)) is None:
        raise ValueError(_no_photos(name))
    return folder


def _no_photos(name: str) -> str:
    return (
        f"there are no photos in the folder {name!r}: put 5-10 photos of one subject into a folder inside "
        f"{folder_paths.get_input_directory()} and reload the page"
    )


def token_files() -> list[str]:
    """The embeddings that can be ID tokens."""
    return [name for name in folder_paths.get_filename_list(EMBEDDINGS) if name.endswith(TOKEN_SUFFIXES)]


def embeddings_folder() -> Path:
    return Path(folder_paths.get_folder_paths(EMBEDDINGS)[0])
