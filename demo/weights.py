"""The weights that ship, and what only measures."""

from pathlib import Path

from safetensors.torch import load_file

from vcd_core.standalone.weights_folder import verified_file
from vcd_core.vision import DrawnFaceDetector

from .measure import Eyes
from .reader import AttributeReader

WEIGHTS = Path(__file__).parent / "weights"
DETECTOR_FILE = "demo-detector.safetensors"
READER_FILE = "demo-reader.safetensors"


def load_eyes(folder: Path = WEIGHTS) -> Eyes:
    """The face detector and the attribute reader."""
    reader, detector = AttributeReader(), DrawnFaceDetector()
    for module, name in ((reader, READER_FILE), (detector, DETECTOR_FILE)):
        module.load_state_dict({key: value.float() for key, value in load_file(verified_file(folder, name)).items()})
        module.eval().requires_grad_(False)
    return Eyes(reader, detector)
