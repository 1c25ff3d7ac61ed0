"""Tiles and time windows inside ComfyUI: with a model that looks at each pixel alone, parts change nothing.

So whatever is told to single pixels or frames (areas, masks, prompts of single frames, hints of ControlNets) has to
reach each part as it would reach the whole.
"""

import comfy.sampler_helpers
import narrow_model
import pytest
import torch
import torch.nn.functional as F
from comfy.controlnet import ControlNet
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close
from vcd_pack.nodes.host.sampling import Sampling, sample
from vcd_pack.nodes.host.tiles import Parts, in_parts, part_of_control
from vcd_pack.vcd_core.noise import correlated_noise
from vcd_pack.vcd_core.tiles import Cut, TilePlan

FRAMES, HEIGHT, WIDTH = 7, 24, 32
PARTS = Parts(Cut(3, 1), Cut(10, 3), Cut(12, 4))


class Pixelwise(nn.Module):
    """Stands for the UNet: noise from each pixel, its frame's prompt, and the control at that pixel."""

    dtype = torch.float32

    def forward(self, x, timesteps, context=None, control=None, transformer_options=None, **_):
        noise = torch.sin(x) + context.mean((1, 2))[:, None, None, None]
        return noise + control["middle"][0] if control else noise


class Reads(nn.Module):
    """Stands for a ControlNet: what its hint shows at each latent pixel."""

    dtype = torch.float32

    def __init__(self):
        super().__init__()
        self.shapes = []

    def forward(self, x, hint, timesteps, context, **_):
        self.shapes.append((tuple(x.shape), tuple(hint.shape)))
        return {"input": [], "middle": [F.avg_pool2d(hint, 8).mean(1, keepdim=True)], "output": []}


@pytest.fixture
def model():
    with torch.inference_mode():
        patcher = narrow_model.model()
        patcher.model.diffusion_model = Pixelwise()
    return patcher


def prompt(seed, frames=1, **more):
    words = torch.randn(frames, 77, narrow_model.WIDTH, generator=torch.Generator().manual_seed(seed)) * 3
    return [words, more]


def picture(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def control(hint, previous=None, **more):
    net = ControlNet(Reads(), load_device=torch.device("cpu"), **more).set_cond_hint(hint, 0.7, (0.0, 0.9))
    return net.set_previous_controlnet(previous)


def smooth(net):
    net.upscale_algorithm = "bilinear"
    return net


def drawn(model, positive, negative, noise_mask=None):
    noise = correlated_noise((FRAMES, 4, HEIGHT, WIDTH), 0.2, torch.Generator().manual_seed(3))
    latents = torch.randn(noise.shape, generator=torch.Generator().manual_seed(4))
    sampling = Sampling(model, positive, negative, seed=0, steps=3, cfg=3.0, sampler_name="euler", scheduler="normal")
    return sample(sampling, noise, latents, denoise=0.7, gamma=0.2, noise_mask=noise_mask)


HALVES = [prompt(1, area=(HEIGHT, 14, 0, 0)), prompt(2, area=(HEIGHT, WIDTH - 14, 0, 14))]
MASK = picture(5, FRAMES, HEIGHT, WIDTH)
CASES = {
    "a prompt": lambda: [prompt(1)],
    "a prompt for every frame": lambda: [prompt(1, FRAMES)],
    "areas": lambda: HALVES,
    "areas in parts of the whole": lambda: [
        prompt(1, area=("percentage", 1.0, 0.5, 0.0, 0.0)),
        prompt(2, area=("percentage", 1.0, 0.5, 0.0, 0.5)),
    ],
    "a mask": lambda: [prompt(1, mask=MASK[:1], mask_strength=0.8), prompt(2)],
    "a mask for every frame": lambda: [prompt(1, mask=MASK, mask_strength=1.0), prompt(2, strength=0.5)],
    "a hint": lambda: [prompt(1, control=control(picture(6, FRAMES, 3, HEIGHT * 8, WIDTH * 8)))],
    "a hint of one picture": lambda: [prompt(1, control=control(picture(6, 1, 3, HEIGHT * 8, WIDTH * 8)))],
    "a hint of few frames": lambda: [prompt(1, control=control(picture(6, 3, 3, HEIGHT * 8, WIDTH * 8)))],
    "a small hint of another shape": lambda: [prompt(1, control=control(picture(6, FRAMES, 3, 50, 90)))],
    "a small hint laid over smoothly": lambda: [prompt(1, control=smooth(control(picture(6, FRAMES, 3, 50, 90))))],
    "two hints": lambda: [
        prompt(1, control=control(picture(6, 1, 3, 64, 64), control(picture(7, FRAMES, 3, HEIGHT * 8, WIDTH * 8))))
    ],
}


@pytest.mark.parametrize("case", CASES)
def test_a_model_that_looks_at_each_pixel_alone_does_not_notice_the_parts(model, case):
    negative = [prompt(9)]
    whole = drawn(model, CASES[case](), negative)
    assert_close(drawn(in_parts(model, PARTS), CASES[case](), negative), whole, rtol=1e-5, atol=1e-4)
    assert (whole - drawn(model, [prompt(8)], negative)).abs().mean() > 0.01  # what is told makes a difference


def test_a_masked_clip_is_redrawn_within_its_mask_alone(model):
    mask = (picture(5, FRAMES, 1, HEIGHT, WIDTH) > 0.5).float()
    whole = drawn(model, [prompt(1)], [prompt(9)], mask)
    assert_close(drawn(in_parts(model, PARTS), [prompt(1)], [prompt(9)], mask), whole, rtol=1e-5, atol=1e-4)


def test_a_controlnet_is_shown_a_part_of_its_hint_at_a_time(model):
    net = control(picture(6, FRAMES, 3, HEIGHT * 8, WIDTH * 8))
    drawn(in_parts(model, PARTS), [prompt(1, control=net)], [prompt(9)])
    sizes = {tile.shape for tile in TilePlan((FRAMES, HEIGHT, WIDTH), *PARTS.cuts)}
    shown = net.control_model.shapes
    assert {(frames, rows, columns) for (frames, _, rows, columns), _ in shown} == sizes
    assert all(hint == (x[0], 3, 8 * x[2], 8 * x[3]) for x, hint in shown)


def test_a_small_hint_may_lie_on_a_gpu():
    """As with --gpu-only: on a GPU that PyTorch pretends to have, which knows devices but no numbers."""
    tile, shape = next(iter(TilePlan((FRAMES, HEIGHT, WIDTH), *PARTS.cuts))), (FRAMES, 4, HEIGHT, WIDTH)
    part_of_control(control(picture(6, 1, 3, 50, 90)), tile, shape)  # what is kept of such a size is no pretence then
    with FakeTensorMode(allow_non_fake_inputs=True):
        hint = torch.empty(1, 3, 50, 90, device="cuda:0")
        part = part_of_control(control(hint), tile, shape).cond_hint_original
    assert part.device.type == "cuda"
    assert part.shape == (1, 3, 8 * tile.shape[1], 8 * tile.shape[2])


def test_the_model_itself_stays_whole(model):
    before = dict(model.model_options)
    in_parts(model, PARTS)
    assert model.model_options == before
    assert "context_handler" not in model.model_options


def test_memory_is_asked_for_one_part(model, monkeypatch):
    asked = []
    prepare = comfy.sampler_helpers._prepare_sampling

    def note(model, noise_shape, *args, **kwargs):
        asked.append(list(noise_shape))
        return prepare(model, noise_shape, *args, **kwargs)

    monkeypatch.setattr(comfy.sampler_helpers, "_prepare_sampling", note)
    drawn(in_parts(model, PARTS), [prompt(1)], [prompt(9)])
    assert asked == [[3, 4, 10, 12]]


def test_a_clip_that_needs_no_parts_is_drawn_as_ever(model):
    parts = Parts(Cut(16, 4), Cut(64, 8), Cut(64, 8))
    whole = drawn(model, [prompt(1)], [prompt(9)])
    assert torch.equal(drawn(in_parts(model, parts), [prompt(1)], [prompt(9)]), whole)


def test_frames_that_are_no_batch_are_refused():
    with pytest.raises(ValueError, match="ComfyUI's own context windows"):
        PARTS.should_use_context(None, [], torch.zeros(1, 16, 5, 8, 8), torch.ones(1), {})
