"""A clip longer than memory, worked on in pieces that fade into each other; none reaches over a cut."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..sampling.windows import spread_windows, window_shares


@dataclass(frozen=True)
class Piece:
    """Frames that are worked on together, and the share (n,) that each has in the result."""

    frames: range
    shares: np.ndarray


def pieces_of(frames: int, cuts: Sequence[int], size: int, overlap: int) -> list[Piece]:
    """The pieces of a clip, in order.

    Args:
        cuts: the frames that begin a new shot, rising, without the first.
        size: of a piece, in frames; evenly spread over a shot, one where a shot is no longer.
        overlap: frames that two pieces of a shot share at least, in which one fades into the next.

    Raises:
        ValueError: the overlap is not smaller than a piece, or there are no frames.
    """
    pieces = []
    for start, end in zip((0, *cuts), (*cuts, frames), strict=True):
        windows = spread_windows(end - start, size, overlap)
        for window, shares in zip(windows, window_shares(windows, overlap), strict=True):
            pieces.append(Piece(range(start + window.start, start + window.stop), shares.astype(np.float32)))
    return pieces


def in_pieces(
    frames: Iterable[Tensor], pieces: Sequence[Piece], change: Callable[[Tensor, range], Tensor]
) -> Iterator[Tensor]:
    """A clip changed piece by piece; a frame comes out as soon as all its pieces are done.

    Held are the frames of one piece, before and after.

    Args:
        frames: (H, W, 3), in order.
        pieces: those of `pieces_of` for that many frames.
        change: (a piece (n, H, W, 3), its frame numbers) -> as many frames, of any one size.

    Raises:
        ValueError: there are fewer frames than the pieces want, or more.
    """
    held: dict[int, Tensor] = {}
    made: dict[int, Tensor] = {}
    waiting = list(pieces)
    for number, frame in enumerate(frames):
        held[number] = frame
        while waiting and waiting[0].frames[-1] <= number:
            piece = waiting.pop(0)
            _add(made, piece, change(torch.stack([held[one] for one in piece.frames]), piece.frames))
            done = waiting[0].frames.start if waiting else piece.frames.stop
            held = {one: kept for one, kept in held.items() if one >= done}
            for one in sorted(made):
                if one < done:
                    yield made.pop(one)
    if waiting or held:
        planned = pieces[-1].frames.stop if pieces else 0
        raise ValueError(f"the clip has not the {planned} frames that were planned for: plan it anew")


def _add(made: dict[int, Tensor], piece: Piece, clip: Tensor) -> None:
    """Adds what was made of a piece to what was made of those before; no view of it stays and holds it whole."""
    for one, share, new in zip(piece.frames, piece.shares, clip, strict=True):
        part = float(share) * new
        made[one] = made[one] + part if one in made else part
