"""GPU kernels of the method, each with the same computation in PyTorch.

Which of the two runs is chosen by itself (see `choice`). The argument `backend` of each function, or VCD_KERNELS in
the environment for all calls that leave it at "auto", chooses otherwise: "torch" or "triton".
"""

from .attention import temporal_attention
from .noise import ar1_scan, ar1_step, philox_ar1

__all__ = ["ar1_scan", "ar1_step", "philox_ar1", "temporal_attention"]
