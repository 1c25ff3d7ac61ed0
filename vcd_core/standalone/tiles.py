"""Tiled VCD with diffusers: a clip enlarged, and its detail drawn anew in tiles that agree."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from ..motion import MotionModule
from ..noise import NoiseChain
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
        tile, overlap: of the tiles, pixels, multiples of 8; a tile of 0 leaves the picture whole.
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
    """What `tile_refiner` makes of a clip (F, H, W, 3) in [0, 1]."""
    refine = tile_refiner(model, prompt, negative, sampling, options, motion, progress)
    return refine(clip, range(len(clip)))


@torch.no_grad()
def tile_refiner(
    model: StableDiffusion,
    prompt: Prompt,
    negative: Prompt,
    sampling: Sampling,
    options: TileOptions,
    motion: MotionModule | None = None,
    progress: Callable[[], object] = lambda: None,
) -> Callable[[Tensor, range], Tensor]:
    """The `change` of `vcd_core.tiles.in_pieces` for one prompt: `refine(clip, frames) -> clip`.

    A clip (F, H, W, 3) in [0, 1] comes back on the CPU, enlarged and drawn anew as far as the strength goes. The noise
    of one clip is one chain: pieces that share frames share their noise.

    Args:
        motion: lets the frames of a window see each other, on AnimateDiff's noise levels.
        progress: called after every step; of every tile, where they are drawn one after another.

    Raises:
        ValueError: a prompt too long; from `refine`: a window longer than the motion module knows, or an overlap too
            large.
    """
    if options.strength == 0:
        return lambda clip, frames: enlarged_by(clip, options.upscale_by)
    if motion is not None:
        model = replace(model, schedule=DiscreteSchedule.from_betas("linear"))
    denoise = classifier_free_guidance(
        model.denoiser(model.encode_pieces(prompt)), model.denoiser(model.encode_pieces(negative)), sampling.cfg
    )
    sigmas = partial_sigmas(partial(SCHEDULERS[sampling.scheduler], model.schedule), sampling.steps, options.strength)
    sigmas = sigmas.to(model.device)
    generator = torch.Generator().manual_seed(sampling.seed)
    chain: NoiseChain | None = None

    def run(of_what, clean: Tensor, noise: Tensor) -> Tensor:
        start = start_latents(noise, sigmas[0], clean)
        return sampled(of_what, start, sigmas, sampling.sampler, sampling.gamma, generator, progress)

    def one_tile(clean: Tensor, noise: Tensor, _tile: Tile) -> Tensor:
        return run(denoise, clean, noise)

    @torch.no_grad()
    def refine(clip: Tensor, frames: range) -> Tensor:
        nonlocal chain
        clip = enlarged_by(clip, options.upscale_by)
        height, width = clip.shape[1:3]
        latents = model.encode(padded(clip, VAE_FACTOR).movedim(-1, 1).contiguous() * 2 - 1).contiguous()
        plan = options.plan((len(latents), *latents.shape[2:]))
        if chain is None:
            chain = NoiseChain(latents.shape[1:], sampling.gamma, sampling.seed)
        noise = chain.of(frames).to(latents)
        with inserted_motion(model.unet, motion) if motion is not None else nullcontext():
            if options.together:
                drawn = run(tiled(lambda x, sigma, _tile: denoise(x, sigma), plan), latents, noise)
            else:
                drawn = one_after_another(one_tile, latents, noise, plan)
        pictures = model.decode(drawn).cpu().movedim(1, -1) * 0.5 + 0.5
        return pictures[:, :height, :width]

    return refine
