"""Pictures at another size."""

import numpy as np


def resized(
    picture: np.ndarray, shape: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    """A picture, or a part of it, at another size: Pillow's Lanczos, which weighs by area when it shrinks.

    Args:
        picture: (H, W, C) float32.
        shape: (h, w) of the result.
        box: x0, y0, x1, y1 of the part, between pixels too; None for all.

    Returns:
        (h, w, C) float32. Lanczos overshoots: what lay in [0, 1] may not any more.
    """
    from PIL import Image

    channels = (Image.fromarray(np.ascontiguousarray(channel)) for channel in np.moveaxis(picture, -1, 0))
    small = (channel.resize(shape[::-1], Image.Resampling.LANCZOS, box=box) for channel in channels)
    return np.stack([np.asarray(channel) for channel in small], -1)
