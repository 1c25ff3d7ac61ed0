"""How the demo measures seams."""

import pytest
import torch

from demo import evaluate_tiles
from vcd_core.standalone.pipeline import VAE_FACTOR


def stripe(column: int) -> torch.Tensor:
    """Two frames of 256 pixels in which all that differs is between a column and the one before it."""
    clip = torch.zeros(2, 256, 256, 3)
    clip[:, :, column:] = 1
    return clip


def test_a_seam_is_what_differs_where_a_tile_begins_or_ends():
    plan = evaluate_tiles.OPTIONS.plan((2, 32, 32))
    (_, borders) = plan.borders()
    assert borders
    for border in borders:
        assert evaluate_tiles.seams(stripe(VAE_FACTOR * border)) == torch.inf
        assert evaluate_tiles.seams(stripe(VAE_FACTOR * border + 1)) == evaluate_tiles.seams(stripe(30)) == 0


def test_a_picture_alike_everywhere_has_no_seams():
    noise = torch.rand(2, 256, 256, 3, generator=torch.Generator().manual_seed(0))
    assert evaluate_tiles.seams(noise) == pytest.approx(1, abs=0.01)
