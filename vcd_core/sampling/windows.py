"""Overlapping windows along one axis, and how what they make is blended."""

from collections.abc import Sequence

import numpy as np


def spread_windows(length: int, size: int, overlap: int) -> list[range]:
    """Windows of one size over `length` places, evenly spread; one where `size` is no smaller than that.

    As few as overlap by at least `overlap`; where they do not divide the length they overlap by more.

    Raises:
        ValueError: the overlap is not smaller than the window, or a number is out of range.
    """
    if length < 1 or size < 1:
        raise ValueError(f"windows need at least one place: {size} over {length}")
    if not 0 <= overlap < size:
        raise ValueError(f"windows of {size} cannot overlap by {overlap}: the overlap must lie in [0, {size - 1}]")
    size = min(size, length)
    count = 1 if size == length else -(-(length - overlap) // (size - overlap))
    starts = np.linspace(0, length - size, count).round().astype(int).tolist()
    return [range(start, start + size) for start in starts]


def window_shares(windows: Sequence[range], overlap: int, *, smooth: bool = False) -> list[np.ndarray]:
    """(size,) float64 for each window: its share in every place; over all windows they add up to 1.

    From a window's ends its weight rises over `overlap` places to its full height, and all weights are divided by their
    sum: so one window fades into the next over what they share, and the middle of a window is its own.

    Args:
        smooth: it rises as sin² and not as a line, so that what lies at the very end of a window hardly counts; in the
            middle of what two share it changes half as fast again.
    """
    total, weights = np.zeros(windows[-1].stop), []
    for window in windows:
        inwards = np.arange(len(window)) + 1.0
        depth = np.minimum(inwards, inwards[::-1])
        line = np.minimum(depth, overlap + 1) / (overlap + 1)
        curve = np.sin(np.pi / 2 * np.minimum((depth - 0.5) / max(overlap, 0.5), 1)) ** 2
        weights.append(curve if smooth else line)
        total[window.start : window.stop] += weights[-1]
    return [weight / total[window.start : window.stop] for weight, window in zip(weights, windows, strict=True)]
