"""Tiled VCD with diffusers: a clip enlarged, and its detail drawn anew in tiles that agree."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from ..motion import MotionModule
from ..noise import correlated_noise
from ..pictures import enlarged, padded
from ..sampling import DiscreteSchedule, classifier_free_guidance, partial_sigmas, start_latents
from ..tiles import Cut, Tile, TilePlan, one_after_another, tiled
from .model import Prompt, StableDiffusion
from .motion import inserted_motion
from .pipeline import SCHEDULERS, VAE_FACTOR, Sampling, sampled


@dataclass(frozen=True)
class TileOptions:
    """How a clip is enlarged and cut.

    Attributes:
        upscale_by: how much larger the picture becomes.
        strength: how much of the denoising is done again, in [0, 1]; 0 only enlarges.
        tile, overlap: of the tiles, pixels, multiples of 8.
        window, window_overlap: frames drawn together, and what two windows share.
        together: blend all tiles at every step; otherwise each is drawn to its end before the next, to compare.
    """

    upscale_by: float = 2.0
    strength: float = 0.2
    tile: int = 512
    overlap: int = 64
    window: int = 16
    window_overlap: int = 4
    together: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise ValueError(f"strength must lie in [0, 1] (0: only enlarged, 1: from pure noise), not {self.strength}")
        if self.tile % VAE_FACTOR or self.overlap % VAE_FACTOR:
            raise ValueError(
                f"tile and overlap must be multiples of {VAE_FACTOR} pixels, not {self.tile} and {self.overlap}"
            )

    def plan(self, shape: tuple[int, int, int]) -> TilePlan:
        """Of latents of this many frames, rows and columns; raises ValueError where an overlap is too large."""
        tiles = Cut(self.tile // VAE_FACTOR, self.overlap // VAE_FACTOR)
        return TilePlan(shape, Cut(self.window, self.window_overlap), tiles, tiles)


def enlarged_by(clip: Tensor, upscale_by: float) -> Tensor:
    """A clip (F, H, W, 3) in [0, 1], so many times as large (Lanczos)."""
    height, width = (round(side * upscale_by) for side in clip.shape[1:3])
    return enlarged(clip, (height, width))


@torch.no_grad()
def refine_in_tiles(
    model: StableDiffusion,
    clip: Tensor,
    prompt: Prompt,
    negative: Prompt,
    sampling: Sampling,
    options: TileOptions,
    motion: MotionModule | None = None,
    progress: Callable[[], object] = lambda: None,
) -> Tensor:
    """A clip (F, H, W, 3) in [0, 1], on the CPU: enlarged, and drawn anew as far as the strength goes.

    Args:
        motion: lets the frames of a window see each other, on AnimateDiff's noise levels.
        progress: called after every step; of every tile, where they are drawn one after another.

    Raises:
        ValueError: a prompt too long, a window longer than the motion module knows, or an overlap too large.
    """
    clip = enlarged_by(clip, options.upscale_by)
    if options.strength == 0:
        return clip
    height, width = clip.shape[1:3]
    latents = model.encode(padded(clip, VAE_FACTOR).movedim(-1, 1).contiguous() * 2 - 1).contiguous()
    plan = options.plan((len(latents), *latents.shape[2:]))
    if motion is not None:
        model = replace(model, schedule=DiscreteSchedule.from_betas("linear"))
    denoise = classifier_free_guidance(
        model.denoiser(model.encode_pieces(prompt)), model.denoiser(model.encode_pieces(negative)), sampling.cfg
    )
    generator = torch.Generator().manual_seed(sampling.seed)
    noise = correlated_noise(latents.shape, sampling.gamma, generator).to(latents)
    sigmas = partial_sigmas(partial(SCHEDULERS[sampling.scheduler], model.schedule), sampling.steps, options.strength)
    sigmas = sigmas.to(latents.device)

    def run(of_what, clean: Tensor, noise: Tensor) -> Tensor:
        start = start_latents(noise, sigmas[0], clean)
        return sampled(of_what, start, sigmas, sampling.sampler, sampling.gamma, generator, progress)

    def one_tile(clean: Tensor, noise: Tensor, _tile: Tile) -> Tensor:
        return run(denoise, clean, noise)

    with inserted_motion(model.unet, motion) if motion is not None else nullcontext():
        if options.together:
            drawn = run(tiled(lambda x, sigma, _tile: denoise(x, sigma), plan), latents, noise)
        else:
            drawn = one_after_another(one_tile, latents, noise, plan)
    frames = model.decode(drawn).cpu().movedim(1, -1) * 0.5 + 0.5
    return frames[:, :height, :width]
