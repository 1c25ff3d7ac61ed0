"""Tiled VCD: large canvases and long clips in parts that agree (arXiv:2402.09368)."""

from .denoising import DenoiseTile, SampleTile, blended, one_after_another, tiled
from .memory import check_clip_fits, check_large_enough
from .plans import Cut, Tile, TilePlan
from .streaming import Piece, in_pieces, pieces_of

__all__ = [
    "Cut",
    "DenoiseTile",
    "Piece",
    "SampleTile",
    "Tile",
    "TilePlan",
    "blended",
    "check_clip_fits",
    "check_large_enough",
    "in_pieces",
    "one_after_another",
    "pieces_of",
    "tiled",
]
