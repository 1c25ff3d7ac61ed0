"""Networks that are not ComfyUI's own, in the memory that ComfyUI manages."""

from collections.abc import Iterator
from contextlib import contextmanager

import comfy.model_management
from comfy.model_patcher import ModelPatcher
from torch import nn


def patcher_of(network: nn.Module) -> ModelPatcher:
    """What ComfyUI manages a network by; a network that outlives a run keeps it, or ComfyUI takes it for leaked."""
    return ModelPatcher(
        network, comfy.model_management.get_torch_device(), comfy.model_management.unet_offload_device()
    )


@contextmanager
def on_compute_device(*networks: nn.Module | ModelPatcher, working_memory: int) -> Iterator[None]:
    """Within it the networks are where ComfyUI computes, other models having made room; afterwards they are off it.

    Args:
        networks: wrapped, if need be, in a module that leaves `device` to ComfyUI to set; or what `patcher_of` made.
        working_memory: bytes they need beside their weights.
    """
    patchers = [one if isinstance(one, ModelPatcher) else patcher_of(one) for one in networks]
    # ComfyUI streams only layers of its own, so these networks are loaded whole.
    comfy.model_management.load_models_gpu(patchers, memory_required=working_memory, force_full_load=True)
    try:
        for patcher in patchers:
            patcher.model.to(patcher.load_device)  # with --novram ComfyUI leaves parameters of larger modules behind
        yield
    finally:
        for patcher in patchers:
            patcher.model.to(patcher.offload_device)
