"""What is around a subject."""

import torch
from torch import Tensor

GREY = 0.5
LEAST = 0.05  # of a picture; what is less shows no place


def background(picture: Tensor, mask: Tensor) -> Tensor | None:
    """A picture (H, W, 3) in [0, 1] with mid-grey in the place of its subject; None if hardly anything is left.

    Args:
        mask: (H, W), above 0.5 where the subject is.
    """
    is_subject = mask > 0.5
    if (~is_subject).float().mean() < LEAST:
        return None
    return picture.masked_fill(is_subject[..., None], GREY)


def resized_mask(mask: Tensor, shape: tuple[int, int]) -> Tensor:
    """A mask (H, W) at the size (h, w)."""
    return torch.nn.functional.interpolate(mask[None, None].float(), shape, mode="nearest")[0, 0]
