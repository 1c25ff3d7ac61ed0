"""Whether a Triton kernel or PyTorch does the work."""

import importlib.util
import logging
import os
from collections.abc import Callable, Hashable
from contextlib import nullcontext
from functools import cache
from typing import Literal

import torch
from torch import Tensor

Backend = Literal["auto", "torch", "triton"]
BACKENDS = ("auto", "torch", "triton")

_left_to_torch: set[Hashable] = set()
_checked: set[Hashable] = set()


def try_kernel(
    launch: Callable[[], tuple[Tensor, object]],
    variant: Hashable,
    suits: bool,
    backend: Backend,
    oldest_gpu: tuple[int, int],
    by_torch: Callable[[], Tensor],
    *tensors: Tensor,
) -> Tensor | None:
    """What a kernel makes, or None where PyTorch is to do the work, because

    - "torch" is asked for, by `backend` or, where that is "auto", by VCD_KERNELS in the environment;
    - the kernel is not for such arguments (`suits` is false), a gradient is wanted, or torch.compile is at work;
    - the tensors are on the CPU or on another GPU than the kernel is for, or Triton is not installed;
    - this variant failed here before, or kept registers in memory.

    The first result of a variant is compared with PyTorch's, which stands where they differ and where registers were
    kept in memory. With "triton" the kernel runs, unchecked, or the reason is raised.

    Args:
        launch: launches the kernel; returns the result and what Triton returned.
        variant: names what is compiled by itself: the kernel, dtypes and compile-time sizes. (Triton also compiles anew
            for addresses and strides that are no multiples of 16.)
        oldest_gpu: the least compute capability that the kernel is for.
        by_torch: the same computation; it must leave alone what the kernel reads.
        tensors: what the kernel reads.

    Raises:
        ValueError: an unknown backend, or "triton" for arguments that the kernel is not for.
    """
    if backend == "auto":
        backend = os.environ.get("VCD_KERNELS", "auto")
    if backend not in BACKENDS:
        raise ValueError(f"the backend of a kernel is one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend == "torch":
        return None

    device = tensors[0].device
    suits = suits and not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors))
    if backend == "triton":
        if not suits:
            raise ValueError(f"no Triton kernel for {variant}, or not with gradients: use backend 'auto' or 'torch'")
        return _on(device, launch)[0]

    variant = (variant, device)
    if not suits or torch.compiler.is_compiling() or not _is_for(device, oldest_gpu) or variant in _left_to_torch:
        return None
    expected = None if variant in _checked else by_torch()
    try:
        result, compiled = _on(device, launch)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # no compiler, no cache folder, another Triton: the work can be done all the same
        logging.warning("VCD: PyTorch takes the place of the kernel %s, which failed: %s", variant, error)
        _left_to_torch.add(variant)
        return expected
    if expected is not None and not _agree(result, expected):
        logging.warning("VCD: PyTorch takes the place of the kernel %s, whose result is another here", variant)
        _left_to_torch.add(variant)
        return expected
    _checked.add(variant)
    if spills(compiled):
        logging.info("VCD: PyTorch takes the place of the kernel %s from now on: its registers spill", variant)
        _left_to_torch.add(variant)
        return result if expected is None else expected  # as every later call
    return result


@cache
def _is_for(device: torch.device, oldest_gpu: tuple[int, int]) -> bool:
    if device.type != "cuda" or torch.version.hip or importlib.util.find_spec("triton") is None:
        return False
    return torch.cuda.get_device_capability(device) >= oldest_gpu


def _agree(result: Tensor, expected: Tensor) -> bool:
    """As far as other orders of the same sums do."""
    close = 1e-3 if expected.dtype == torch.float32 else 1e-2
    return torch.allclose(result, expected, rtol=close, atol=close, equal_nan=True)


def _on(device: torch.device, launch: Callable):
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        return launch()


def spills(compiled: object) -> bool:
    """Whether a kernel that was compiled and loaded keeps values in memory for want of registers."""
    return bool(getattr(compiled, "n_spills", 0))
