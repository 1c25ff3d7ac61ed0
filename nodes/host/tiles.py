"""Tiles and time windows inside ComfyUI's samplers: every part is denoised with its own part of the conditioning."""

import copy
from collections.abc import Callable
from functools import lru_cache

import comfy.conds
import comfy.utils
import torch
from comfy import model_management
from comfy.context_windows import ContextHandlerABC
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP, add_wrapper_with_key
from torch import Tensor

from ...vcd_core.tiles import Cut, Tile, TilePlan, blended

KEY = "vcd_parts"


class Parts(ContextHandlerABC):
    """At every step the whole clip is denoised in parts, and these are blended before the sampler goes on.

    It stands where ComfyUI's own context windows would: every sampler and guider works with it.
    """

    def __init__(self, time: Cut, height: Cut, width: Cut) -> None:
        """How a clip (F, C, h, w) is cut, in frames and latent pixels."""
        self.cuts = time, height, width

    def plan(self, shape: tuple[int, ...]) -> TilePlan:
        """Of a clip of this shape.

        Raises:
            ValueError: not a batch of frames.
        """
        if len(shape) != 4:
            raise ValueError(
                "tiles and windows are for models whose frames are a batch, such as Stable Diffusion 1.5 with a motion "
                "module: for newer video models use ComfyUI's own context windows"
            )
        return TilePlan((shape[0], *shape[2:]), *self.cuts)

    def should_use_context(self, model, conds, x_in, timestep, model_options) -> bool:
        return len(self.plan(x_in.shape)) > 1

    def get_resized_cond(self, cond_in, x_in, window: Tile, device=None) -> list:
        return [part for one in cond_in if (part := part_of_cond(one, window, x_in.shape)) is not None]

    def execute(self, calc_cond_batch: Callable, model, conds, x_in, timestep, model_options) -> list[Tensor]:
        def denoise(tile: Tile) -> list[Tensor]:
            model_management.throw_exception_if_processing_interrupted()
            parts = [None if cond is None else self.get_resized_cond(cond, x_in, tile) for cond in conds]
            return calc_cond_batch(model, parts, tile.of(x_in), frames_of(timestep, tile, len(x_in)), model_options)

        return blended(self.plan(x_in.shape), denoise)


def in_parts(model: ModelPatcher, parts: Parts) -> ModelPatcher:
    """A clone of the model that denoises in parts, and asks for no more memory than the largest of them needs."""
    patched = model.clone()
    patched.model_options["context_handler"] = parts
    add_wrapper_with_key(
        WrappersMP.PREPARE_SAMPLING, KEY, _memory_of_one_part, patched.model_options, is_model_options=True
    )
    return patched


def _memory_of_one_part(executor: Callable, model, noise_shape, conds, *args, **kwargs):
    parts = (kwargs.get("model_options") or model.model_options).get("context_handler")
    if isinstance(parts, Parts):
        frames, height, width = next(iter(parts.plan(tuple(noise_shape)))).shape
        noise_shape = [frames, noise_shape[1], height, width]
    return executor(model, noise_shape, conds, *args, **kwargs)


def part_of_cond(cond: dict, tile: Tile, shape: tuple[int, ...]) -> dict | None:
    """A prompt's conditioning as a tile needs it; None if its area is elsewhere.

    Cut are its area and mask, what belongs to single frames, what lies over the picture (inpainting models), and the
    hints of its ControlNets. GLIGEN's boxes are not.

    Args:
        shape: of the whole clip of latents.
    """
    cond = cond.copy()
    if (area := cond.get("area")) is not None and len(area) == 4:
        inside = _part_of_area(area, tile)
        if inside is None:
            return None
        cond["area"] = inside
    if "mask" in cond:
        mask = cond["mask"]
        frames = torch.arange(tile.frames.start, tile.frames.stop) % len(mask) if len(mask) > 1 else slice(None)
        cond["mask"] = mask[frames][..., tile.rows.start : tile.rows.stop, tile.columns.start : tile.columns.stop]
    cond["model_conds"] = {name: _part_of_model_cond(one, tile, shape) for name, one in cond["model_conds"].items()}
    if cond.get("control") is not None:
        cond["control"] = part_of_control(cond["control"], tile, shape)
    return cond


def frames_of(values: Tensor, tile: Tile, frames: int) -> Tensor:
    """The rows of a tile's frames, if there is a row for each frame of the clip."""
    return values[tile.frames.start : tile.frames.stop] if len(values) == frames else values


def _part_of_area(area: tuple[int, ...], tile: Tile) -> tuple[int, ...] | None:
    """Height, width, y, x of what an area and a tile share, from the tile's corner."""
    sizes, starts = [], []
    for size, start, window in zip(area[:2], area[2:], (tile.rows, tile.columns), strict=True):
        low, high = max(start, window.start), min(start + size, window.stop)
        if low >= high:
            return None
        sizes.append(high - low)
        starts.append(low - window.start)
    return (*sizes, *starts)


def _part_of_model_cond(cond: comfy.conds.CONDRegular, tile: Tile, shape: tuple[int, ...]):
    value = getattr(cond, "cond", None)
    if not isinstance(value, Tensor) or not value.ndim:
        return cond
    part = frames_of(value, tile, shape[0])
    if value.ndim == 4 and tuple(value.shape[2:]) == tuple(shape[2:]):
        part = part[:, :, tile.rows.start : tile.rows.stop, tile.columns.start : tile.columns.stop]
    return cond if part is value else cond._copy_with(part)


def part_of_control(control, tile: Tile, shape: tuple[int, ...]):
    """A ControlNet, and those chained before it, that sees a tile's part of its hint.

    The network is the same object; its hint is cut as ComfyUI would lay it over the whole clip: scaled to the picture
    and cropped about its middle, frame by frame, a hint of fewer frames repeated.
    """
    part = copy.copy(control)
    part.cond_hint, part.extra_concat = None, None
    if hasattr(part, "control_input"):
        part.control_input = None
    if control.previous_controlnet is not None:
        part.previous_controlnet = part_of_control(control.previous_controlnet, tile, shape)
    if control.cond_hint_original is not None:
        factor = control.compression_ratio * (control.vae.spacial_compression_encode() if control.vae else 1)
        part.cond_hint_original = _part_of_hint(control.cond_hint_original, tile, shape, factor, control)
        part.extra_concat_orig = [
            _part_of_hint(one, tile, shape, factor, control) if one.shape[-1] > 1 else one
            for one in control.extra_concat_orig
        ]
    return part


def _part_of_hint(hint: Tensor, tile: Tile, shape: tuple[int, ...], factor: int, control) -> Tensor:
    """(f or 1, C, h·factor, w·factor). A hint of pixels that are only repeated is never laid over the whole picture."""
    frames = [number % len(hint) for number in tile.frames] if len(hint) > 1 else [0]
    rows, columns = (slice(part.start * factor, part.stop * factor) for part in (tile.rows, tile.columns))
    size, algorithm = (shape[-2] * factor, shape[-1] * factor), control.upscale_algorithm
    if tuple(hint.shape[-2:]) == size:
        return hint[:, :, rows, columns][frames]
    if not algorithm.startswith("nearest"):
        return _laid_over(hint[frames], size, algorithm)[:, :, rows, columns]
    # on the hint's device, which with --gpu-only is a GPU
    row_of, column_of = (places.to(hint.device) for places in _repeated(tuple(hint.shape[-2:]), size, algorithm))
    return hint[frames].index_select(2, row_of[rows]).index_select(3, column_of[columns])


def _laid_over(pictures: Tensor, size: tuple[int, int], algorithm: str) -> Tensor:
    height, width = size
    return comfy.utils.common_upscale(pictures, width, height, algorithm, "center")


@lru_cache(maxsize=8)
def _repeated(hint: tuple[int, int], size: tuple[int, int], algorithm: str) -> tuple[Tensor, Tensor]:
    """Which row of a hint each row of the picture repeats, and which column each column: the same at every step."""
    places = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) for side in hint), indexing="ij")
    rows, columns = _laid_over(torch.stack(places)[None], size, algorithm)[0].long()
    return rows[:, 0].clone(), columns[0].clone()
