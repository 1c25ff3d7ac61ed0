"""OpenCV, which is imported only where it is used, and pictures in the form it takes."""

import numpy as np
from torch import Tensor


def import_cv2():
    """The module cv2.

    Raises:
        ImportError: it is not installed; how to install it.
    """
    try:
        import cv2
    except ModuleNotFoundError as error:
        if error.name != "cv2":
            raise
        raise ImportError(
            "this needs OpenCV. Install it into the Python that runs this: pip install opencv-python-headless"
        ) from error
    return cv2


def as_bgr(image: Tensor) -> np.ndarray:
    """(3, H, W) in [0, 1], red first, as (H, W, 3) bytes, blue first."""
    values = (image.float().clamp(0, 1) * 255).round().byte().cpu()
    return np.ascontiguousarray(values.flip(0).permute(1, 2, 0).numpy())
