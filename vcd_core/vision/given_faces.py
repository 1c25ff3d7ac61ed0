"""Faces that somebody else has found: as boxes, or as a mask."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .faces import Face
from .opencv import import_cv2

Box = Mapping[str, float]

MOST = 16
"""Faces that are taken from one frame's mask, the largest; what else is in it will be specks."""


@dataclass(frozen=True)
class GivenBoxes:
    """A FaceDetector for one clip whose faces are known.

    Attributes:
        boxes: for every frame a list of {"x", "y", "width", "height"} in pixels, whole or not, with a "score" or
            without, in which case they come largest first. A list of one list, a plain list, and a single box hold for
            every frame. All of these are what ComfyUI calls BOUNDING_BOX: its MediaPipe Face Landmarker, RT-DETR, SAM 3
            and SDPose give lists of lists, an empty one where there is nothing; its own declaration and its widget
            are a single box. Boxes without area, or quite outside the picture, are left out.
    """

    boxes: Sequence[Sequence[Box]] | Sequence[Box] | Box

    def detect(self, images: Tensor) -> list[list[Face]]:
        """Of the whole clip (F, 3, H, W) at once, in its order.

        Raises:
            ValueError: there are boxes for another number of frames, or they are no boxes.
        """
        height, width = images.shape[-2:]
        boxes = [self.boxes] if isinstance(self.boxes, Mapping) else self.boxes
        if not boxes or all(isinstance(box, Mapping) for box in boxes):
            boxes = [boxes]
        found = []
        for frame in _for_each(boxes, len(images), "lists of boxes"):
            faces = [face for face in map(_face, frame) if _is_visible(face.box, height, width)]
            found.append(sorted(faces, key=lambda face: (-face.score, -_area(face.box))))
        return found


@dataclass(frozen=True)
class GivenMasks:
    """A FaceDetector for one clip whose faces are masked: every part of a mask that hangs together is one.

    Attributes:
        masks: (F, H, W) in [0, 1], 1 on faces; a single one holds for every frame.
    """

    masks: Tensor

    def detect(self, images: Tensor) -> list[list[Face]]:
        """Of the whole clip (F, 3, H, W) at once, in its order; the largest face of a frame is the best.

        Raises:
            ValueError: there are masks for another number of frames, or of another size.
            ImportError: OpenCV is not installed.
        """
        if self.masks.ndim != 3 or self.masks.shape[1:] != images.shape[-2:]:
            raise ValueError(
                f"the masks are {tuple(self.masks.shape)} and the pictures {images.shape[-1]}x{images.shape[-2]}: "
                "give masks (F, H, W) of the pictures' size"
            )
        return [_parts(mask) for mask in _for_each(self.masks, len(images), "masks")]


def _for_each(given: Sequence, frames: int, what: str) -> Sequence:
    if len(given) not in (1, frames):
        raise ValueError(f"there are {len(given)} {what} for {frames} frames: give one for each frame, or one for all")
    return [given[0]] * frames if len(given) == 1 else given


def _face(box: Box) -> Face:
    try:
        x, y, width, height = (float(box[name]) for name in ("x", "y", "width", "height"))
        return Face((x, y, x + width, y + height), float(box.get("score", 1)))
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise ValueError(f"a box needs x, y, width and height in pixels, got {box!r}") from error


def _area(box: Sequence[float]) -> float:
    x0, y0, x1, y1 = box
    return (x1 - x0) * (y1 - y0)


def _is_visible(box: Sequence[float], height: int, width: int) -> bool:
    x0, y0, x1, y1 = box
    return all(map(math.isfinite, box)) and max(x0, 0) < min(x1, width) and max(y0, 0) < min(y1, height)


def _parts(mask: Tensor) -> list[Face]:
    cv2 = import_cv2()
    inside = (mask > 0.5).byte().cpu().numpy()
    _, _, parts, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
    parts = torch.from_numpy(parts[1:])  # without the background
    largest = parts[:, cv2.CC_STAT_AREA].argsort(descending=True, stable=True)[:MOST]
    return [Face((x, y, x + width, y + height), 1.0) for x, y, width, height, _ in parts[largest].double().tolist()]
