"""Pictures at another size, and several at once."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


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


def in_threads(work: Callable, *pictures: Iterable) -> list:
    """`map`, on as many threads as torch has; Pillow, NumPy and OpenCV let other threads run while they work."""
    threads = torch.get_num_threads()
    if threads == 1:
        return list(map(work, *pictures))
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, *pictures))


def scaled_size(size: tuple[int, int], factor: float) -> tuple[int, int]:
    """A size (h, w), so many times as large, in whole pixels."""
    height, width = size
    return round(height * factor), round(width * factor)


def enlarged(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Frames (F, H, W, C) float32 in [0, 1] at another size (h, w), by `resized`; at their own, as they are."""
    if tuple(frames.shape[1:3]) == size:
        return frames
    return torch.from_numpy(np.stack([np.clip(resized(frame.numpy(), size), 0, 1) for frame in frames]))


def padded(frames: Tensor, factor: int) -> Tensor:
    """Frames (F, H, W, C), mirrored at the right and below up to multiples of a factor; tiny ones repeat their edge."""
    right, below = -frames.shape[2] % factor, -frames.shape[1] % factor
    mode = "reflect" if right < frames.shape[2] and below < frames.shape[1] else "replicate"
    return F.pad(frames.movedim(-1, 1), (0, right, 0, below), mode).movedim(1, -1)
