"""The weights that ship, and what only measures."""

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from vcd_core.standalone.demo_model import load_demo_face_detector
from vcd_core.standalone.weights_folder import verified_file

from .measure import Eyes
from .reader import AttributeReader

WEIGHTS = Path(__file__).parent / "weights"
READER_FILE = "demo-reader.safetensors"
NAMES_FILE = "demo-names.safetensors"  # the network that names people, which only training needs


def load_eyes(folder: Path = WEIGHTS) -> Eyes:
    """The face detector and the attribute reader."""
    reader = AttributeReader()
    reader.load_state_dict(load_parts(folder, READER_FILE))
    return Eyes(reader.eval().requires_grad_(False), load_demo_face_detector(folder))


def load_parts(folder: Path, name: str) -> dict[str, Tensor]:
    """The weights in one of the folder's files, in float32."""
    return {key: value.float() for key, value in load_file(verified_file(folder, name)).items()}
