"""Where the tiles of a canvas and the windows of a clip are; geometry alone.

A clip of latents is (F, C, h, w). A tile is a box of it: some frames, some rows, some columns, all channels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..sampling.windows import spread_windows, window_shares


@dataclass(frozen=True)
class Tile:
    """A box of a clip, in frames and latent pixels."""

    frames: range
    rows: range
    columns: range

    def of(self, clip: Tensor, scale: int = 1) -> Tensor:
        """This part of a clip (F, C, h·scale, w·scale), as a view; a clip of one frame is taken for all frames."""
        rows, columns = (slice(axis.start * scale, axis.stop * scale) for axis in (self.rows, self.columns))
        frames = slice(None) if len(clip) == 1 else slice(self.frames.start, self.frames.stop)
        return clip[frames, :, rows, columns]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, rows, columns."""
        return len(self.frames), len(self.rows), len(self.columns)


@dataclass(frozen=True)
class Cut:
    """How one axis is cut.

    Attributes:
        size: of a window; 0 leaves the axis whole.
        overlap: what two windows share at least.
    """

    size: int = 0
    overlap: int = 0

    def windows(self, length: int) -> list[range]:
        return spread_windows(length, self.size, self.overlap) if self.size else [range(length)]


@dataclass(frozen=True)
class TilePlan:
    """The tiles of a canvas times the windows of a clip.

    Attributes:
        shape: of the whole clip: frames, rows, columns.
        time, height, width: how each axis is cut.

    Raises:
        ValueError: an overlap that is not smaller than its tile, or an empty clip.
    """

    shape: tuple[int, int, int]
    time: Cut = Cut()
    height: Cut = Cut()
    width: Cut = Cut()

    def __post_init__(self) -> None:
        _ = self._windows

    @classmethod
    def grid(cls, shape: tuple[int, int, int], rows: int, columns: int, overlap: int, time: Cut = Cut()) -> "TilePlan":
        """So many rows and columns of tiles that overlap by `overlap` latent pixels: the paper has two of each."""
        height, width = (
            Cut(-(-(length + (count - 1) * overlap) // count), overlap) if count > 1 else Cut()
            for length, count in ((shape[1], rows), (shape[2], columns))
        )
        return cls(shape, time, height, width)

    @cached_property
    def _windows(self) -> list[list[range]]:
        cuts = zip((self.time, self.height, self.width), self.shape, strict=True)
        return [cut.windows(length) for cut, length in cuts]

    @cached_property
    def _shares(self) -> list[dict[range, np.ndarray]]:
        """Of every window of each axis. A tile's border, beyond which a model sees nothing, hardly counts."""
        overlaps = (self.time.overlap, self.height.overlap, self.width.overlap)
        axes = zip(self._windows, overlaps, (False, True, True), strict=True)
        return [
            dict(zip(windows, window_shares(windows, overlap, smooth=smooth), strict=True))
            for windows, overlap, smooth in axes
        ]

    def __len__(self) -> int:
        return int(np.prod([len(windows) for windows in self._windows]))

    def __iter__(self) -> Iterator[Tile]:
        """Place by place in reading order, at each the windows of the clip one after the other."""
        times, heights, widths = self._windows
        for rows in heights:
            for columns in widths:
                for frames in times:
                    yield Tile(frames, rows, columns)

    def shares(self, tile: Tile) -> Tensor:
        """(f, 1, h, w) float32: a tile's share in what is blended; over all tiles they add up to 1."""
        windows = (tile.frames, tile.rows, tile.columns)
        return _product(*(axis[window] for axis, window in zip(self._shares, windows, strict=True)))

    def fades(self, tile: Tile) -> Tensor:
        """(f, 1, h, w) float32 in (0, 1]: 1 within a tile, falling to its borders, but not to those of the clip."""
        axes = []
        overlaps = (self.time.overlap, self.height.overlap, self.width.overlap)
        for window, length, overlap in zip((tile.frames, tile.rows, tile.columns), self.shape, overlaps, strict=True):
            inwards = np.arange(1, len(window) + 1)
            low = inwards if window.start else np.full(len(window), np.inf)
            high = inwards[::-1] if window.stop < length else np.full(len(window), np.inf)
            axes.append(np.minimum(np.minimum(low, high) / (overlap + 1), 1.0))
        return _product(*axes)

    def borders(self) -> tuple[list[int], list[int]]:
        """The rows and the columns at which a tile begins or ends inside the canvas: where a seam would be."""
        lines = []
        for windows, length in zip(self._windows[1:], self.shape[1:], strict=True):
            ends = {end for window in windows for end in (window.start, window.stop)}
            lines.append(sorted(ends - {0, length}))
        return lines[0], lines[1]


def _product(frames: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> Tensor:
    whole = frames[:, None, None, None] * rows[:, None] * columns
    return torch.from_numpy(whole.astype(np.float32))
