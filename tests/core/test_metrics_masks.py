"""Which part of a picture counts as a place, and which masks are laid over which pictures."""

import pytest
import torch

from vcd_core.metrics import Evaluator
from vcd_core.metrics.backgrounds import background


class Remembering:
    """Has no opinion of pictures, but keeps them."""

    name = "remembering"

    def __init__(self):
        self.asked = []

    def embed_images(self, images):
        self.asked.append(images)
        return torch.ones(len(images), 3)


@pytest.mark.parametrize(("left", "shows_a_place"), [(0, False), (4, False), (6, True), (100, True)])
def test_less_than_a_twentieth_of_a_picture_shows_no_place(left, shows_a_place):
    mask = torch.ones(100)
    mask[:left] = 0
    found = background(torch.zeros(10, 10, 3), mask.view(10, 10))
    assert (found is not None) == shows_a_place


def test_the_masks_of_the_photos_are_laid_over_other_places_in_turn():
    """At each picture's own size; a photo without a mask has no turn."""
    masks = torch.zeros(2, 8, 8)
    masks[0, :4, :4] = masks[1, 2:6, 6:] = 1
    network = Remembering()
    photos, others = [torch.zeros(8, 8, 3)] * 3, [torch.zeros(16, 24, 3)] * 5
    Evaluator(photos, [masks[0], None, masks[1]], unrelated=others, dino=network)
    holes = [(picture == 0.5).all(-1) for picture in network.asked[-1]]
    wide = [mask.bool().repeat_interleave(2, 0).repeat_interleave(3, 1) for mask in masks]
    assert [[torch.equal(hole, mask) for mask in wide] for hole in holes] == [
        [True, False],
        [False, True],
        [True, False],
        [False, True],
        [True, False],
    ]
