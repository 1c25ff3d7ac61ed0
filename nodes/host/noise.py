"""Correlated noise in the layouts of ComfyUI's latents."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...vcd_core.noise import correlate


@dataclass(frozen=True)
class CorrelatedNoiseSource:
    """What travels through a NOISE socket."""

    seed: int
    gamma: float

    def generate_noise(self, input_latent: dict) -> Tensor:
        """Noise for `samples` (F, C, H, W) or (B, C, T, H, W), on the CPU; at gamma 0 ComfyUI's own for the seed.

        `batch_index` picks from a longer batch: frames of the chain, or whole videos.
        """
        samples = input_latent["samples"]
        if getattr(samples, "is_nested", False) or samples.ndim not in (4, 5):
            raise ValueError(
                "3D Gaussian noise needs an image or video latent, (frames, C, H, W) or (B, C, T, H, W); "
                "use ComfyUI's RandomNoise for this model"
            )
        white, picked = _white_noise(samples, input_latent.get("batch_index"), self.seed)
        noise = correlate_frames(white, self.gamma)
        return (noise if picked is None else noise[picked]).to(samples.dtype)


def _white_noise(samples: Tensor, batch_index: list[int] | None, seed: int) -> tuple[Tensor, list[int] | None]:
    """ComfyUI's own noise for a seed, from a generator of its own, and which of its batch are wanted (None: all)."""
    generator = torch.Generator().manual_seed(seed)
    if not batch_index:
        return torch.randn(samples.shape, generator=generator), None
    drawn = [torch.randn(samples.shape[1:], generator=generator) for _ in range(max(batch_index) + 1)]
    return torch.stack(drawn), list(batch_index)


def correlate_frames(white: Tensor, gamma: float) -> Tensor:
    """Correlates over the frame axis of (F, C, H, W), or over T of (B, C, T, H, W)."""
    if white.ndim == 5:
        return correlate(white.movedim(2, 0), gamma).movedim(0, 2)
    return correlate(white, gamma)
