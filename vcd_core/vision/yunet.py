"""YuNet (doi:10.1007/s11633-023-1423-y), OpenCV's own face detector, from a user's file."""

from pathlib import Path

import torch
from torch import Tensor

from .faces import Face, FaceDetector
from .opencv import as_bgr, import_cv2
from .working_size import AtWorkingSize

NAME = "face_detection_yunet_2023mar.onnx"
LICENCE = "YuNet: MIT licence."
WORKING_SIZE = 640
THRESHOLD = 0.9
SAME_FACE, MOST = 0.3, 5000  # of the union of two boxes; candidates
HOW_TO_GET = f"download {NAME} from OpenCV's model zoo (opencv_zoo, models/face_detection_yunet; MIT licence)"


class YuNet:
    """A FaceDetector that looks at pictures as large as they are.

    Args:
        network: OpenCV's FaceDetectorYN.
    """

    def __init__(self, network) -> None:
        self.network = network

    def detect(self, images: Tensor) -> list[list[Face]]:
        """In (F, 3, H, W) in [0, 1]."""
        height, width = images.shape[-2:]
        self.network.setInputSize((width, height))
        return [self._faces(image) for image in images]

    def _faces(self, image: Tensor) -> list[Face]:
        _, rows = self.network.detect(as_bgr(image))
        found = []
        for row in torch.from_numpy(rows) if rows is not None else ():
            x, y, width, height = row[:4].tolist()
            found.append(Face((x, y, x + width, y + height), row[14].item(), row[4:14].view(5, 2).clone()))
        return sorted(found, key=lambda face: -face.score)


def load_yunet(path: Path, *, size: int = WORKING_SIZE, threshold: float = THRESHOLD) -> FaceDetector:
    """YuNet: boxes and landmarks, the fastest.

    Args:
        path: face_detection_yunet_2023mar.onnx.
        size: the working size, pixels of the longer side.
        threshold: faces that score less are not there.

    Raises:
        ValueError: there is no such file, or it is another model; what to do.
        ImportError: OpenCV is not installed, or too old.
    """
    cv2 = import_cv2()
    if not hasattr(cv2, "FaceDetectorYN"):
        raise ImportError("YuNet needs OpenCV 4.5.4 or newer: pip install -U opencv-python-headless")
    if not path.is_file():
        raise ValueError(f"there is no file {path.name} in {path.parent}: {HOW_TO_GET}")
    try:
        network = YuNet(cv2.FaceDetectorYN.create(str(path), "", (32, 32), threshold, SAME_FACE, MOST))
        network.detect(torch.zeros(1, 3, 32, 32))  # only now OpenCV asks for the outputs
    except (cv2.error, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path.name} in {path.parent} is damaged or not a YuNet that this OpenCV ({cv2.__version__}) reads: "
            f"{HOW_TO_GET}"
        ) from error
    return AtWorkingSize(network, size)
