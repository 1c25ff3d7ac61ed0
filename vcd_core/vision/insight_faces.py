"""SCRFD (arXiv:2105.04714) and ArcFace (arXiv:1801.07698) through the package insightface."""

from pathlib import Path

import torch
from torch import Tensor

from .faces import Face
from .opencv import as_bgr
from .working_size import as_rgb

PACKS = ("buffalo_l", "antelopev2")
LICENCE = "insightface: its models are licensed for non-commercial research only, its code under the MIT licence."
WORKING_SIZE = 640
THRESHOLD = 0.5
MULTIPLE = 32
HOW_TO_GET = f"download {PACKS[0]}.zip from insightface's model zoo and unpack it there. {LICENCE}"


class InsightFaces:
    """A FaceDetector that also recognises people: its faces have embeddings.

    Args:
        analysis: insightface's FaceAnalysis, prepared.
        name: of its model pack, for reports.
    """

    def __init__(self, analysis, name: str = "insightface") -> None:
        self.analysis = analysis
        self.name = name

    def detect(self, images: Tensor) -> list[list[Face]]:
        """In (F, 3, H, W) in [0, 1]; embeddings are made from the pictures as large as they are."""
        return [self._faces(image) for image in as_rgb(images)]

    def _faces(self, image: Tensor) -> list[Face]:
        found = [
            Face(tuple(map(float, face.bbox)), float(face.det_score), _tensor(face.kps), _tensor(face.normed_embedding))
            for face in self.analysis.get(as_bgr(image))
        ]
        return sorted(found, key=lambda face: -face.score)


def load_insight_faces(folder: Path, *, size: int = WORKING_SIZE, threshold: float = THRESHOLD) -> InsightFaces:
    """insightface's FaceAnalysis: boxes, landmarks and what tells one person from another.

    Nothing is downloaded.

    Args:
        folder: a model pack of insightface's, unpacked: buffalo_l, antelopev2.
        size: the working size, pixels of the longer side; rounded up to a multiple of 32.
        threshold: faces that score less are not there.

    Raises:
        ValueError: there is no model pack in the folder; what to do, and under which licence.
        ImportError: the package insightface, or what it needs, is not installed.
    """
    analysis = _face_analysis()
    if not any(folder.glob("*.onnx")):
        raise ValueError(f"there is no model pack in {folder} (its .onnx files are missing): {HOW_TO_GET}")
    # A whole path is taken as it is; a mere name would be downloaded.
    folder = folder.absolute()
    try:
        network = analysis(name=str(folder), allowed_modules=["detection", "recognition"])
    # An AssertionError says that there is no detector; the others were seen of ONNX Runtime, whose errors have no
    # class in common, or can come of a damaged model pack.
    except (AssertionError, RuntimeError, ValueError, TypeError, OSError, LookupError) as error:
        raise _not_a_pack(folder, error) from error
    except Exception as error:
        if type(error).__module__.split(".")[0] != "onnxruntime":
            raise
        raise _not_a_pack(folder, error) from error
    side = -(-size // MULTIPLE) * MULTIPLE
    network.prepare(ctx_id=0, det_thresh=threshold, det_size=(side, side))
    return InsightFaces(network, f"insightface {folder.name}")


def _face_analysis():
    try:
        from insightface.app import FaceAnalysis
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("insightface", "onnxruntime", "onnx", "cv2"):
            raise
        raise ImportError(
            f"recognising faces needs the package {package}. Install it into the Python that runs this: "
            f"pip install insightface onnxruntime. {LICENCE}"
        ) from error
    return FaceAnalysis


def _not_a_pack(folder: Path, error: Exception) -> ValueError:
    reason = str(error).strip().partition("\n")[0] or "no model in it finds faces"
    return ValueError(f"the model pack in {folder} could not be read ({reason}): {HOW_TO_GET}")


def _tensor(values) -> Tensor | None:
    return None if values is None else torch.as_tensor(values, dtype=torch.float32)
