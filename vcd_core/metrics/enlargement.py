"""What enlarging a clip in tiles leaves behind."""

from collections.abc import Collection

import torch
from torch import Tensor


def seams(clip: Tensor, rows: Collection[int], columns: Collection[int]) -> float:
    """Mean absolute difference across the lines at which tiles begin or end, over that across all other lines.

    1 where nothing tells the lines from others.

    Args:
        clip: (F, H, W, 3).
        rows, columns: the first pixels behind the lines.
    """
    across, others = [], []
    for axis, lines in ((1, rows), (2, columns)):
        difference = clip.diff(dim=axis).abs().movedim(axis, 0).flatten(1).mean(1)
        is_line = torch.zeros(len(difference), dtype=torch.bool)
        is_line[[line - 1 for line in lines]] = True
        across.append(difference[is_line])
        others.append(difference[~is_line])
    return (torch.cat(across).mean() / torch.cat(others).mean()).item()


def flicker_of_detail(clip: Tensor, before: Tensor) -> float:
    """How much of what was drawn into a clip changes from frame to frame, as a mean absolute difference.

    Args:
        clip, before: (F, H, W, 3), the second as it was merely enlarged.
    """
    return (clip - before).diff(dim=0).abs().mean().item()
