"""Tiled VCD as the demo uses it: clips of 128 become clips of 256."""

from collections.abc import Callable

from torch import Tensor

from vcd_core.motion import MotionModule
from vcd_core.standalone.model import Prompt, StableDiffusion
from vcd_core.standalone.pipeline import Sampling
from vcd_core.standalone.tiles import TileOptions, refine_in_tiles

from . import measure
from .shots import DETAIL

STEPS = 8
OPTIONS = TileOptions(upscale_by=2.0, strength=0.3, tile=144, overlap=32)
"""Two by two tiles of about the size that the model knows."""
PART = DETAIL  # how the prompt of a part of a picture begins


def enlarge(
    model: StableDiffusion,
    motion: MotionModule,
    clip: Tensor,
    prompt: Prompt,
    seed: int,
    gamma: float,
    progress: Callable[[], object] = lambda: None,
    options: TileOptions = OPTIONS,
) -> Tensor:
    """A clip (F, H, W, 3) in [0, 1] at twice its size; prompt in pieces, beginning with PART."""
    sampling = Sampling(STEPS, measure.CFG, gamma=gamma, seed=seed)
    return refine_in_tiles(model, clip, prompt, [""], sampling, options, motion, progress)
