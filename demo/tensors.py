"""Between drawn pictures, (H, W, 3) uint8, and what networks take, (N, 3, H, W) in [-1, 1]."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def as_tensor(pictures: Sequence[np.ndarray]) -> Tensor:
    """(N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.stack(pictures)).movedim(-1, 1).float() / 127.5 - 1


def as_pictures(images: Tensor) -> np.ndarray:
    """(N, H, W, 3) uint8."""
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().byte().movedim(1, -1).numpy()


def mixed_precision() -> torch.autocast:
    """bfloat16 where the processor multiplies it itself; elsewhere float32, which is many times faster there."""
    able = torch.cpu.get_capabilities()
    return torch.autocast("cpu", torch.bfloat16, enabled=able.get("avx512_bf16", False) or able.get("amx_bf16", False))
