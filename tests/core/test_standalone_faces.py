"""Faces drawn anew by a model of random weights: what is known stays, what is not comes from the noise."""

import pytest
import torch
from torch.testing import assert_close

from vcd_core.standalone.faces import face_refiner
from vcd_core.standalone.pipeline import Sampling

pytestmark = pytest.mark.usefixtures("one_thread")
CLIP = torch.rand(3, 64, 64, 3, generator=torch.Generator().manual_seed(1))
NOISE = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(2))
SAMPLING = Sampling(steps=3, cfg=2.0)


def decoded(model):
    return model.decode(model.encode(CLIP.movedim(-1, 1) * 2 - 1)).movedim(1, -1) * 0.5 + 0.5


@pytest.mark.parametrize("sampler", ["euler", "euler_ancestral", "dpmpp_2m"])
def test_without_a_mask_the_clip_comes_back_through_the_autoencoder(model, sampler):
    refine = face_refiner(model, ["a woman"], [""], Sampling(3, 2.0, sampler))
    assert_close(refine(CLIP, torch.zeros(3, 64, 64), NOISE, 0.6), decoded(model), rtol=0, atol=1e-5)


def test_a_mask_is_where_it_is_drawn_anew(model):
    """In latents: the left half stays, the right changes."""
    seen = {}
    mask = torch.zeros(3, 64, 64)
    mask[:, :, 32:] = 1
    spied = type(model)(**vars(model))
    object.__setattr__(spied, "decode", lambda latents: seen.setdefault("latents", latents)[:, :3])
    face_refiner(spied, ["a woman"], [""], SAMPLING)(CLIP, mask, NOISE, 0.6)
    known = model.encode(CLIP.movedim(-1, 1) * 2 - 1)
    assert_close(seen["latents"][..., :4], known[..., :4], rtol=0, atol=1e-5)
    assert (seen["latents"] - known)[..., 4:].abs().mean() > 0.1


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_every_step_is_taken_and_shown(model, strength):
    steps = []
    refine = face_refiner(model, ["a woman"], [""], Sampling(5, 1.0), progress=lambda: steps.append(1))
    refine(CLIP, torch.ones(3, 64, 64), NOISE, strength)
    assert len(steps) == 5


def test_the_motion_module_joins_the_frames(model, motion):
    """What one frame becomes depends on the others only through it."""
    other = CLIP.clone()
    other[2] = 1 - other[2]
    mask = torch.ones(3, 64, 64)
    for module, joined in ((None, False), (motion, True)):
        refine = face_refiner(model, ["a woman"], [""], SAMPLING, module)
        one, two = (refine(clip, mask, NOISE, 0.6)[0] for clip in (CLIP, other))
        assert torch.allclose(one, two, atol=1e-5) is not joined
