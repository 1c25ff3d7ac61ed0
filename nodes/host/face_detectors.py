"""What finds faces in ComfyUI: which detectors there are, and loading one."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...vcd_core.standalone.demo_model import load_demo_face_detector
from ...vcd_core.standalone.weights_folder import manifest_fingerprint
from ...vcd_core.vision import (
    LICENCES,
    AtWorkingSize,
    Face,
    FaceDetector,
    NamedFaces,
    centerface,
    check_words,
    insight_faces,
    load_centerface,
    load_grounding_dino,
    load_insight_faces,
    load_yunet,
    packaged_centerface,
    yunet,
)
from .demo import WEIGHTS as DEMO_WEIGHTS
from .folders import DETECTION, INSIGHTFACE, detection_files, insightface_packs, model_folders
from .memory import on_compute_device, patcher_of

CENTERFACE_KIND, INSIGHTFACE_KIND, YUNET_KIND, WORDS_KIND, DEMO_KIND = KINDS = (
    "centerface",
    "insightface",
    "yunet",
    "words",
    "demo",
)
DEMO_LICENCE = "The demo's detector: comes with the pack, under its licence (Apache-2.0)."
DEMO_SIZE = 128  # what it was trained on; in larger pictures it finds less
WORDS_MEMORY, DEMO_MEMORY = 2 * 1024**3, 256 * 1024**2  # bytes beside the weights


@dataclass(frozen=True)
class OnComputeDevice:
    """A FaceDetector of a network that is where ComfyUI computes while it looks, and not otherwise."""

    detector: FaceDetector
    network: ModelPatcher
    working_memory: int

    def detect(self, images: Tensor) -> list[list[Face]]:
        with on_compute_device(self.network, working_memory=self.working_memory):
            return self.detector.detect(images)


def face_detectors() -> list[str]:
    """The choices: kinds, those of which there can be several files with the file, as in "yunet/FILE"."""
    choices = []
    for kind in KINDS:
        names = [f"{kind}/{name}" for name in _files(kind)]
        choices += names or [kind]
    return choices


def check_face_detector(choice: str | None) -> bool | str:
    """True if all it needs seems to be there, or a link will name it (None); else what a user should do.

    Packages are looked for and not imported.
    """
    if choice is None:
        return True
    kind, _, name = choice.partition("/")
    if kind not in KINDS:
        return f"there is no face detector {choice!r}: choose one of {', '.join(face_detectors())}"
    for package, install in _packages(kind).items():
        if find_spec(package) is None:
            missing = f"{choice} needs the package {package}: pip install {install}, with the Python that runs ComfyUI"
            return f"{missing}. {insight_faces.LICENCE}" if kind == INSIGHTFACE_KIND else missing
    if kind == CENTERFACE_KIND and _centerface_file() is None:
        return (
            f"centerface needs the file {centerface.NAME}: {centerface.HOW_TO_GET}, with the Python that runs ComfyUI; "
            f"or put it into {model_folders(DETECTION)}"
        )
    is_missing = name not in _files(kind) if name else not _files(kind)
    if kind == YUNET_KIND and is_missing:
        return (
            f"yunet needs the file {name or yunet.NAME}: {yunet.HOW_TO_GET}, put it into {model_folders(DETECTION)} "
            "and reload the page"
        )
    if kind == INSIGHTFACE_KIND and is_missing:
        pack = name or insight_faces.PACKS[0]
        return (
            f"insightface needs the model pack {pack}: download {pack}.zip from its model zoo, unpack it into "
            f"{_pack_folder(pack)} and reload the page. {insight_faces.LICENCE}"
        )
    return True


def load_face_detector(
    choice: str, *, size: int = 0, threshold: float = 0.0, prompt: str = "", grounding_dino: Path | str = ""
) -> tuple[FaceDetector, str]:
    """A face detector, and a sentence about its licence.

    Args:
        choice: one of `face_detectors`.
        size: the working size, pixels of the longer side; 0 for the detector's usual one.
        threshold: faces that score less are not there; 0 for the detector's usual one.
        prompt, grounding_dino: for "words": what to look for, and a folder (a Path) or a Hugging Face id (a str).

    Raises:
        ValueError: a file is missing or unfit; which, and what to do.
        ImportError: a package is missing; which.
    """
    checked = check_face_detector(choice)
    if checked is not True:
        raise ValueError(checked)
    kind, _, name = choice.partition("/")
    options = {"size": size} if size else {}
    options |= {"threshold": threshold} if threshold else {}
    if kind == CENTERFACE_KIND:
        detector = load_centerface(_centerface_file(), **options)
    elif kind == YUNET_KIND:
        detector = load_yunet(_file(kind, name), **options)
    elif kind == INSIGHTFACE_KIND:
        detector = load_insight_faces(_file(kind, name), **options)
    elif kind == WORDS_KIND:
        check_words(prompt)  # before the network is loaded
        network = load_grounding_dino(grounding_dino, size or None)
        named = NamedFaces(network, prompt, **({"box_threshold": threshold} if threshold else {}))
        detector = OnComputeDevice(named, patcher_of(network), WORDS_MEMORY)
    else:
        network = load_demo_face_detector(DEMO_WEIGHTS, **({"threshold": threshold} if threshold else {}))
        detector = OnComputeDevice(AtWorkingSize(network, size or DEMO_SIZE), patcher_of(network), DEMO_MEMORY)
    return detector, LICENCES.get(kind, DEMO_LICENCE)


def demo_fingerprint() -> str:
    return manifest_fingerprint(DEMO_WEIGHTS)


def _packages(kind: str) -> Mapping[str, str]:
    """What a kind of detector imports, and what to install for it."""
    if kind in (CENTERFACE_KIND, YUNET_KIND):
        return {"cv2": "opencv-python-headless"}
    if kind == INSIGHTFACE_KIND:
        return {"insightface": "insightface onnxruntime", "onnxruntime": "onnxruntime"}
    return {}


def _files(kind: str) -> dict[str, Path]:
    if kind == YUNET_KIND:
        return {name: path for name, path in detection_files().items() if "yunet" in path.name.lower()}
    return insightface_packs() if kind == INSIGHTFACE_KIND else {}


def _file(kind: str, name: str) -> Path:
    """The file of that name, or the first one; `check_face_detector` has seen that there is one."""
    files = _files(kind)
    return files[name] if name else next(iter(files.values()))


def _centerface_file() -> Path | None:
    own = [path for path in detection_files().values() if path.name.lower() == centerface.NAME]
    return own[0] if own else packaged_centerface()


def _pack_folder(pack: str) -> Path:
    return Path(model_folders(INSIGHTFACE).split(", ")[0]) / "models" / pack
