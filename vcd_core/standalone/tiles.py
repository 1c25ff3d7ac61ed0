"""Tiled VCD with diffusers: a clip enlarged, and its detail drawn anew in tiles that agree."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ..motion import MotionModule
from ..noise import NoiseChain
from ..pictures import enlarged, padded, scaled_size
from ..sampling import partial_sigmas, start_latents
from ..tiles import Cut, Tile, TilePlan, check_large_enough, one_after_another, tiled
from .controlnet import Control, controlled
from .model import Prompt, StableDiffusion
from .motion import inserted_motion
from .pipeline import SCHEDULERS, VAE_FACTOR, Sampling, guided, sampled


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
    return enlarged(clip, scaled_size(tuple(clip.shape[1:3]), upscale_by))


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
    controls: Sequence[Control] = (),
) -> Callable[[Tensor, range], Tensor]:
    """The `change` of `vcd_core.tiles.in_pieces` for one prompt: `refine(clip, frames) -> clip`.

    A clip (F, H, W, 3) in [0, 1] comes back on the CPU, enlarged and drawn anew as far as the strength goes. The noise
    of one clip is one chain, and so is what is added after each step: pieces that share frames share their noise. With
    ControlNets it may have more channels, (F, H, W, 3 + 3n): the hint of each in turn; without them it is its own hint.

    Args:
        motion: lets the frames of a window see each other, on AnimateDiff's noise levels.
        progress: called after every step; of every tile, where they are drawn one after another.
        controls: each sees a tile's part of its hint.

    Raises:
        ValueError: a prompt too long; from `refine`: a window longer than the motion module knows, or an overlap too
            large.
    """
    if options.strength == 0:
        return lambda clip, frames: enlarged_by(clip[..., :3], options.upscale_by)
    schedule, denoise = guided(model, prompt, negative, sampling.cfg, motion)
    sigmas = partial_sigmas(partial(SCHEDULERS[sampling.scheduler], schedule), sampling.steps, options.strength)
    sigmas = sigmas.to(model.device)
    chains: dict[int, NoiseChain] = {}  # by the step after which it is added; -1 is where the sampler starts

    @torch.no_grad()
    def refine(clip: Tensor, frames: range) -> Tensor:
        clip = enlarged_by(clip, options.upscale_by)
        height, width = clip.shape[1:3]
        check_large_enough(height, width)
        latents = torch.cat([model.encode(_planes(frame[None, ..., :3]) * 2 - 1) for frame in clip]).contiguous()
        hints: Sequence[Tensor] = ()
        if controls:
            hints = _planes(clip[..., 3:]).split(3, 1) if clip.shape[-1] > 3 else [_planes(clip)] * len(controls)
        plan = options.plan((len(latents), *latents.shape[2:]))

        def noise_of(step: int) -> Tensor:
            if step not in chains:
                seed = int(np.random.SeedSequence((sampling.seed, step + 1)).generate_state(1, np.uint64)[0])
                chains[step] = NoiseChain(latents.shape[1:], sampling.gamma, seed)
            return chains[step].of(frames).to(latents)

        def run(of_what, clean: Tensor, noise: Tensor, noise_of: Callable[[int], Tensor]) -> Tensor:
            return sampled(
                of_what, start_latents(noise, sigmas[0], clean), sigmas, sampling.sampler, noise_of, progress
            )

        def denoise_tile(x: Tensor, sigma: Tensor, tile: Tile) -> Tensor:
            with controlled(model.unet, controls, [tile.of(hint, VAE_FACTOR) for hint in hints]):
                return denoise(x, sigma)

        def one_tile(clean: Tensor, noise: Tensor, tile: Tile) -> Tensor:
            return run(
                lambda x, sigma: denoise_tile(x, sigma, tile), clean, noise, lambda step: tile.of(noise_of(step))
            )

        start = noise_of(-1)
        with inserted_motion(model.unet, motion) if motion is not None else nullcontext():
            if options.together:
                drawn = run(tiled(denoise_tile, plan), latents, start, noise_of)
            else:
                drawn = one_after_another(one_tile, latents, start, plan)
        made = torch.empty(len(clip), height, width, 3)
        for frame, latent in zip(made, drawn, strict=True):
            frame.copy_(model.decode(latent[None])[0].movedim(0, -1)[:height, :width] * 0.5 + 0.5)
        return made

    return refine


def _planes(frames: Tensor) -> Tensor:
    """Frames (F, H, W, C) as a VAE wants them: (F, C, h, w), mirrored up to multiples of its factor."""
    return padded(frames, VAE_FACTOR).movedim(-1, 1).contiguous()
