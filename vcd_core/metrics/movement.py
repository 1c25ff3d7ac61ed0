"""How a clip moves and whether it flickers, by optical flow: what smoothness hides, since a still is the smoothest."""

from collections.abc import Sequence
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor

from ..pictures import in_threads
from ..vision.opencv import import_cv2

WORKING_SIDE = 512  # pixels of the longer side at which the flow is looked for
SMALLEST_SIDE = 32
FLOW = "DIS optical flow (OpenCV)"


def motion_and_flicker(clip: Tensor | Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Motion amplitude and warping error of each frame and the next.

    Amplitude is the mean length of the optical flow, over the picture's diagonal. The warping error (Lai et al.,
    arXiv:1808.00449) is the mean squared difference between a frame and the next one laid over it by the flow, where
    the flows of both directions agree: what is seen in only one of the two does not count, and neither does motion.
    Its authors (after Ruder et al., arXiv:1604.08610) leave out the boundaries of motion too, by Sundaram et al.'s
    second test; here they count.
    Both are measured at 512 pixels of the longer side, whatever the size of the clip.

    Args:
        clip: F frames (H, W, 3) in [0, 1], all of one size.

    Returns:
        Two of (F - 1,) float64. A pair whose flows agree nowhere, such as a cut, has a warping error that is not a
        number.
    """
    cv2 = import_cv2()
    height, width = clip[0].shape[:2]
    factor = WORKING_SIDE / max(height, width)
    size = tuple(max(SMALLEST_SIDE, round(factor * side)) for side in (width, height))
    interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    resized = in_threads(partial(cv2.resize, dsize=size, interpolation=interpolation), map(_pixels, clip))
    frames = [frame.clip(0, 1) for frame in resized]
    grey = in_threads(_grey, frames)
    pairs = in_threads(_amplitude_and_error, frames, frames[1:], grey, grey[1:])
    amplitudes, errors = torch.tensor(pairs, dtype=torch.float64).reshape(-1, 2).unbind(1)
    return amplitudes, errors


def _amplitude_and_error(
    frame: np.ndarray, following: np.ndarray, grey: np.ndarray, following_grey: np.ndarray
) -> tuple[float, float]:
    cv2 = import_cv2()
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)  # the finer presets take five times as long
    there = search.calc(grey, following_grey, None)
    back = laid_over(search.calc(following_grey, grey, None), there)
    seen = _agree(there, back)
    squares = _squares(frame - laid_over(following, there)) / 3
    error = squares[seen].mean() if seen.any() else np.nan
    return np.sqrt(_squares(there)).mean() / np.hypot(*frame.shape[:2]), error


def _agree(there: np.ndarray, back: np.ndarray) -> np.ndarray:
    """(H, W) bool: where a flow and the one back, laid over it, cancel out, as for what is seen in both frames.

    The bound is Sundaram et al.'s (Dense point trajectories, ECCV 2010), which the warping error's authors take.
    """
    return _squares(there + back) <= 0.01 * (_squares(there) + _squares(back)) + 0.5


def _squares(values: np.ndarray) -> np.ndarray:
    """(H, W, C) -> (H, W), summed over C."""
    return sum(plane * plane for plane in np.moveaxis(values, -1, 0))  # three times as fast as by np.einsum


def steadiness(clip: Tensor, where: Tensor, scale: int = 1) -> float:
    """Likeness of neighbouring frames of (F, H, W, 3) in [0, 1], each laid over the one before by its optical flow.

    What moves as one is as steady as what stands; what flickers or changes its shape is not (the warping error as a
    correlation, over all of a region). A plain likeness is higher the less there is to be seen.

    Args:
        where: (H, W) bool, what is compared; without any it is not a number.
        scale: by how much the pictures are enlarged before the flow is found; faces of 20 pixels want 4.
    """
    cv2 = import_cv2()
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    height, width = (scale * side for side in where.shape)
    frames = [cv2.resize(_pixels(frame), (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1) for frame in clip]
    grey = [_grey(frame) for frame in frames]
    inside = torch.from_numpy(cv2.resize(where.numpy().astype(np.uint8), (width, height), interpolation=0) > 0)
    likeness = []
    for number in range(len(frames) - 1):
        ahead = laid_over(frames[number + 1], flow.calc(grey[number], grey[number + 1], None))
        pair = torch.from_numpy(np.stack([frames[number], ahead]))
        likeness.append(likeness_of_neighbours(pair[:, inside]))
    return float(np.mean(likeness))


def likeness_of_neighbours(frames: Tensor) -> float:
    """Mean correlation of neighbouring frames (F, ...), own means taken off; not a number without pixels."""
    flat = frames.flatten(1).double()
    if not flat.shape[1]:
        return float("nan")
    centred = flat - flat.mean(1, keepdim=True)
    return torch.cosine_similarity(centred[1:], centred[:-1]).mean().item()


def laid_over(picture: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """A picture (H, W, C) as it would look had nothing moved since the picture that the flow (H, W, 2) starts from."""
    cv2 = import_cv2()
    places = _places(*flow.shape[:2]) + flow
    return cv2.remap(picture, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


@lru_cache(maxsize=1)
def _places(height: int, width: int) -> np.ndarray:
    """(H, W, 2) float32: x and y of every pixel."""
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)


def _pixels(frame: Tensor) -> np.ndarray:
    return frame.float().cpu().numpy()


def _grey(frame: np.ndarray) -> np.ndarray:
    """(H, W, 3) in [0, 1] as (H, W) bytes."""
    cv2 = import_cv2()
    return cv2.cvtColor((255 * frame).round().astype(np.uint8), cv2.COLOR_RGB2GRAY)
