"""Denoising of a large canvas or a long clip, a tile at a time."""

from collections.abc import Callable, Sequence

from torch import Tensor

from ..sampling.guidance import Denoise
from .plans import Tile, TilePlan

DenoiseTile = Callable[[Tensor, Tensor, Tile], Tensor]
"""`denoise(x, sigma, tile) -> x0` of a tile: x (f, C, h, w) is that part of the clip, sigma a scalar tensor. Which tile
it is decides on what the model is told: its part of a mask, of an area, of a ControlNet's hint."""


def tiled(denoise: DenoiseTile, plan: TilePlan) -> Denoise:
    """A denoiser of the whole clip: at every step the x0 of all tiles are blended before the sampler goes on.

    So tiles that overlap agree step by step, whatever the sampler; with a denoiser that looks at each pixel alone the
    result is that without tiles (after MultiDiffusion, arXiv:2302.08113, with x0 in place of the next sample).

    No more than one tile is denoised at a time; beside it there are x and x0 of the clip's own size.
    """

    def denoise_all(x: Tensor, sigma: Tensor) -> Tensor:
        (x0,) = blended(plan, lambda tile: [denoise(tile.of(x), sigma, tile)])
        return x0

    return denoise_all


def blended(plan: TilePlan, make: Callable[[Tile], Sequence[Tensor]]) -> list[Tensor]:
    """Clips (F, C, h, w) from what is made of each of their tiles.

    Args:
        make: tile -> its part (f, C, h, w) of each of the clips.
    """
    clips: list[Tensor] = []
    for tile in plan:
        parts = make(tile)
        if not clips:
            frames, height, width = plan.shape
            clips = [part.new_zeros(frames, part.shape[1], height, width) for part in parts]
        shares = plan.shares(tile).to(parts[0])
        for clip, part in zip(clips, parts, strict=True):
            tile.of(clip).addcmul_(shares, part)
    return clips


SampleTile = Callable[[Tensor, Tensor, Tile], Tensor]
"""`sample(latents, noise, tile) -> latents` of a tile from its latents and its noise, through all steps."""


def one_after_another(sample: SampleTile, latents: Tensor, noise: Tensor, plan: TilePlan) -> Tensor:
    """Every tile sampled to its end before the next, which sees what has become of the part that they share.

    As the released workflow does, and Ultimate SD Upscale; to compare: tiles do not agree on what is between them.

    Args:
        latents: (F, C, h, w) of the whole clip.
        noise: of that shape; tiles that overlap start from the same noise.
    """
    latents = latents.clone()
    for tile in plan:
        part = tile.of(latents)
        part.lerp_(sample(part.clone(), tile.of(noise), tile).to(part), plan.fades(tile).to(part))
    return latents
