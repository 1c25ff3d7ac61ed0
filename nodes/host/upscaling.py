"""Tiled VCD over ComfyUI's samplers, VAEs and upscale models: a clip enlarged, then drawn anew in tiles."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import comfy.utils
import latent_preview
import psutil
import torch
from comfy import model_management
from torch import Tensor

from ...vcd_core.pictures import enlarged, padded, scaled_size
from ...vcd_core.tiles import Cut, check_clip_fits, check_large_enough
from .noise import CorrelatedNoiseSource
from .sampling import Sampling, sample
from .tiles import Parts, in_parts

FRAMES_AT_ONCE = 4  # that are enlarged, encoded and decoded together
WHOLE = 1024  # pixels: frames up to this size go through the VAE in one piece, larger ones in tiles of it
VAE_OVERLAP = 128  # pixels


@dataclass(frozen=True)
class TileSizes:
    """How a clip is cut, in pixels of the enlarged picture and frames."""

    tile: int
    overlap: int
    window: int
    window_overlap: int

    def parts(self, factor: int) -> Parts:
        """For latents that are smaller by a factor.

        Raises:
            ValueError: not multiples of it, or an overlap that is not smaller than what overlaps.
        """
        for name, value in (("tile", self.tile), ("overlap", self.overlap)):
            if value % factor:
                raise ValueError(f"{name} must be a multiple of {factor} pixels for this VAE, not {value}")
        if self.overlap >= self.tile:
            raise ValueError(f"tiles of {self.tile} pixels cannot overlap by {self.overlap}: lower overlap")
        if self.window_overlap >= self.window:
            raise ValueError(
                f"windows of {self.window} frames cannot overlap by {self.window_overlap}: lower window_overlap"
            )
        tiles = Cut(self.tile // factor, self.overlap // factor)
        return Parts(Cut(self.window, self.window_overlap), tiles, tiles)


@torch.no_grad()
def enlarge_and_refine(
    clip: Tensor,
    sampling: Sampling,
    vae,
    sizes: TileSizes,
    *,
    upscale_by: float,
    strength: float,
    gamma: float,
    upscaler=None,
) -> Tensor:
    """A clip (F, H, W, 3 or 4) in [0, 1], enlarged and, as far as `strength` goes, drawn anew; alpha is enlarged.

    Args:
        upscaler: an UPSCALE_MODEL, which enlarges first; None for Lanczos alone.
    """
    factor = vae.spacial_compression_encode()
    parts = sizes.parts(factor)
    clip = clip.float().cpu()
    frames, height, width = clip.shape[:3]
    size = scaled_size((height, width), upscale_by)
    if strength > 0:
        check_large_enough(*size)
    check_clip_fits(frames, *size, psutil.virtual_memory().available)
    large = torch.empty(frames, *size, clip.shape[3])
    if clip.shape[3] == 4:
        for number in range(frames):
            large[number : number + 1, ..., 3:] = enlarged(clip[number : number + 1, ..., 3:], size)
    latents = []
    for start, few in _enlarged(clip[..., :3], size, upscaler):
        large[start : start + len(few), ..., :3] = few
        if strength > 0:
            latents.append(_encoded(vae, padded(few, factor)))
    if strength == 0:
        return large
    clean = torch.cat(latents)
    noise = CorrelatedNoiseSource(sampling.seed, gamma).generate_noise({"samples": clean})
    drawn = sample(
        replace(sampling, model=in_parts(sampling.model, parts)),
        noise,
        clean,
        denoise=strength,
        gamma=gamma,
        callback=latent_preview.prepare_callback(sampling.model, sampling.steps),
    )
    progress = comfy.utils.ProgressBar(frames)
    for number in range(frames):
        large[number, ..., :3] = _decoded(vae, drawn[number : number + 1])[0, : size[0], : size[1]]
        progress.update_absolute(number + 1)
    return large


def _enlarged(clip: Tensor, size: tuple[int, int], upscaler) -> Iterator[tuple[int, Tensor]]:
    """A few frames at a time, and the number of their first."""
    progress = comfy.utils.ProgressBar(len(clip))
    for start in range(0, len(clip), FRAMES_AT_ONCE):
        model_management.throw_exception_if_processing_interrupted()
        few = clip[start : start + FRAMES_AT_ONCE]
        if upscaler is not None:
            from comfy_extras.nodes_upscale_model import ImageUpscaleWithModel

            few = ImageUpscaleWithModel.execute(upscaler, few).args[0].float().cpu()
        yield start, enlarged(few, size)
        progress.update_absolute(start + len(few))


def _encoded(vae, frames: Tensor) -> Tensor:
    if max(frames.shape[1:3]) <= WHOLE:
        return vae.encode(frames)
    return vae.encode_tiled(frames, tile_x=WHOLE, tile_y=WHOLE, overlap=VAE_OVERLAP)


def _decoded(vae, latents: Tensor) -> Tensor:
    """(F, H, W, 3) in [0, 1], on the CPU."""
    model_management.throw_exception_if_processing_interrupted()
    factor = vae.spacial_compression_decode()
    if max(latents.shape[2:]) * factor <= WHOLE:
        return vae.decode(latents).float().cpu().clamp(0, 1)
    tile = WHOLE // factor
    made = vae.decode_tiled(latents, tile_x=tile, tile_y=tile, overlap=VAE_OVERLAP // factor)
    return made.float().cpu().clamp(0, 1)
