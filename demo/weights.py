"""The weights that ship, and what only measures."""

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from vcd_core.standalone.weights_folder import verified_file
from vcd_core.vision import DrawnFaceDetector

from .measure import Eyes
from .reader import AttributeReader

WEIGHTS = Path(__file__).parent / "weights"
DETECTOR_FILE = "demo-detector.safetensors"
READER_FILE = "demo-reader.safetensors"
NAMES_FILE = "demo-names.safetensors"  # the network that names people, which only training needs


def load_eyes(folder: Path = WEIGHTS) -> Eyes:
    """The face detector and the attribute reader."""
    reader, detector = AttributeReader(), DrawnFaceDetector()
    for module, name in ((reader, READER_FILE), (detector, DETECTOR_FILE)):
        module.load_state_dict(load_parts(folder, name))
        module.eval().requires_grad_(False)
    return Eyes(reader, detector)


def load_parts(folder: Path, name: str) -> dict[str, Tensor]:
    """The weights in one of the folder's files, in float32."""
    return {key: value.float() for key, value in load_file(verified_file(folder, name)).items()}
