"""What tests of motion modules share."""

from collections.abc import Mapping
from pathlib import Path

import torch
from einops import rearrange
from safetensors.torch import save_file
from torch import Tensor


class PerFrameNorm(torch.nn.GroupNorm):
    """Undoes the one difference between diffusers' temporal transformer and AnimateDiff's: frames are normed alone."""

    def forward(self, x: Tensor) -> Tensor:  # (B, C, F, H, W)
        per_frame = super().forward(rearrange(x, "b c f h w -> (b f) c h w"))
        return rearrange(per_frame, "(b f) c h w -> b c f h w", b=len(x))


def write(path: Path, content: Mapping[str, Tensor]) -> Path:
    if path.suffix == ".safetensors":
        save_file({key: value.clone() for key, value in content.items()}, path)
    else:
        torch.save(content, path)
    return path
