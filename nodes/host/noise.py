"""Correlated noise in the layouts of ComfyUI's latents."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...vcd_core.noise import correlate, correlated_noise


@dataclass(frozen=True)
class CorrelatedNoiseSource:
    """What travels through a NOISE socket."""

    seed: int
    gamma: float

    def generate_noise(self, input_latent: dict) -> Tensor:
        """Noise for `samples` (F, C, H, W) or (B, C, T, H, W), on the CPU; `batch_index` picks frames of the chain.

        At gamma 0 it equals ComfyUI's own noise for the seed (for frame batches, wherever H·W is divisible by 4:
        torch draws other sizes differently frame by frame).
        """
        samples = input_latent["samples"]
        if getattr(samples, "is_nested", False) or samples.ndim not in (4, 5):
            raise ValueError(
                "3D Gaussian noise needs an image or video latent, (frames, C, H, W) or (B, C, T, H, W); "
                "use ComfyUI's RandomNoise for this model"
            )
        generator = torch.Generator().manual_seed(self.seed)
        if samples.ndim == 5:
            white = torch.randn(samples.shape, generator=generator)
            noise = correlate_frames(white, self.gamma)
        else:
            frames = input_latent.get("batch_index") or range(len(samples))
            chain = correlated_noise((max(frames) + 1, *samples.shape[1:]), self.gamma, generator)
            noise = chain if len(chain) == len(frames) else chain[list(frames)]
        return noise.to(samples.dtype)


def correlate_frames(white: Tensor, gamma: float) -> Tensor:
    """Correlates over the frame axis of (F, C, H, W), or over T of (B, C, T, H, W)."""
    if white.ndim == 5:
        return correlate(white.movedim(2, 0), gamma).movedim(0, 2)
    return correlate(white, gamma)
