"""Face VCD, called as ComfyUI calls it, on a narrow model."""

from types import SimpleNamespace

import comfy.model_management
import psutil
import pytest
import torch
from vcd_pack.nodes.face_vcd import FaceVCD
from vcd_pack.nodes.host import faces as host
from vcd_pack.vcd_core.vision import Face

FRAMES, HEIGHT, WIDTH = 6, 72, 90


class Averaging:
    """A VAE that averages 8x8 pixels, and says of itself what ComfyUI's do."""

    latent_channels, latent_dim = 4, 2

    def spacial_compression_encode(self):
        return 8

    def encode(self, images):
        small = torch.nn.functional.avg_pool2d(images.movedim(-1, 1), 8)
        return torch.cat([small, small.mean(1, keepdim=True)], 1)

    def decode(self, latents):
        return torch.nn.functional.interpolate(latents[:, :3], scale_factor=8).movedim(1, -1)


class Walking:
    """Finds one face that goes to the right."""

    def __init__(self):
        self.seen = 0

    def detect(self, images):
        found = [[Face((20.0 + t, 16.0, 44.0 + t, 40.0), 0.9)] for t in range(self.seen, self.seen + len(images))]
        self.seen += len(images)
        return found


@pytest.fixture
def clip():
    return torch.rand(FRAMES, HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(0))


def run(narrow, clip, detector=None, **changes):
    model, text = narrow
    cond = [[text.encode_from_tokens(text.tokenize("a woman")).float(), {}]]
    inputs = {
        "seed": 1, "strength": 0.6, "steps": 2, "cfg": 2.0, "sampler_name": "euler", "scheduler": "normal",
        "gamma": 0.1,
        "size": 64, "crop_factor": 2.0, "mask_factor": 1.3, "feather": 0.4, "faces": "largest first", "which": -1,
    }  # fmt: skip
    with torch.inference_mode():
        return FaceVCD.execute(clip, model, Averaging(), cond, cond, **inputs | changes, detector=detector).result


def test_the_face_changes_and_nothing_else_does(narrow, clip):
    made, masks, crops, report = run(narrow, clip, Walking())
    assert made.shape == clip.shape
    assert masks.shape == clip.shape[:3]
    assert crops.shape == (FRAMES, 64, 128, 3)
    assert "1 to be drawn anew" in report
    assert torch.equal(made[masks == 0], clip[masks == 0])
    assert (made - clip).abs()[masks > 0.9].mean() > 0.02
    assert made.min() >= 0
    assert made.max() <= 1
    again, *_ = run(narrow, clip, Walking())
    assert torch.equal(made, again)


def test_a_face_that_is_large_already_is_left_alone_where_that_is_asked(narrow, clip):
    made, masks, _, report = run(narrow, clip, Walking(), min_enlargement=9.0)
    assert torch.equal(made, clip)
    assert masks.sum() == 0
    assert "min_enlargement asks for 9: lower it" in report


def test_alpha_is_handed_through(narrow, clip):
    alpha = torch.rand(FRAMES, HEIGHT, WIDTH, 1)
    made, *_ = run(narrow, torch.cat([clip, alpha], -1), Walking())
    assert torch.equal(made[..., 3:], alpha)


@pytest.mark.parametrize(
    "given",
    [
        {"boxes": {"x": 20, "y": 16, "width": 24, "height": 24}},
        {"boxes": [[{"x": 20.0, "y": 16.0, "width": 24.0, "height": 24.0, "label": "face", "score": 0.8}]] * FRAMES},
        {
            "masks": torch.zeros(1, HEIGHT, WIDTH).index_put(
                (torch.tensor(0), torch.arange(16, 40)[:, None], torch.arange(20, 44)), torch.tensor(1.0)
            )
        },
    ],
    ids=["one box", "boxes of every frame", "a mask"],
)
def test_faces_may_come_from_another_node(narrow, clip, given):
    made, masks, _, report = run(narrow, clip, Walking(), **given)
    assert (masks[:, 28, 32] == 1).all()
    assert torch.equal(made[masks == 0], clip[masks == 0])
    assert f"detector: not looked at, because the faces come from {next(iter(given))}" in report


def test_no_face_and_no_strength_leave_the_clip_alone(narrow, clip):
    class Nobody:
        def detect(self, images):
            return [[] for _ in images]

    for detector, changes in ((Nobody(), {}), (Walking(), {"strength": 0.0})):
        made, masks, _, report = run(narrow, clip, detector, **changes)
        assert torch.equal(made, clip)
        assert not masks.any()
        assert report


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "connect a detector"),
        ({"detector": Walking(), "window": 4, "overlap": 4}, "windows of 4 frames"),
        ({"boxes": [[{"x": 1}]] * FRAMES}, "a box needs x, y, width and height"),
        ({"masks": torch.zeros(1, 10, 10)}, "the masks are"),
        ({"masks": torch.zeros(2, HEIGHT, WIDTH)}, "2 masks for 6 frames"),
        ({"detector": Walking(), "reference": torch.rand(2, 64, 64, 3)}, "reference takes one photo"),
        ({"detector": Walking(), "reference": torch.rand(1, 64, 64, 3)}, "choose insightface"),
        (
            {"masks": torch.ones(1, HEIGHT, WIDTH), "reference": torch.rand(1, 64, 64, 3)},
            "take the boxes and masks away",
        ),
    ],
)
def test_what_cannot_be_done_is_said(narrow, clip, changes, message):
    with pytest.raises(ValueError, match=message):
        run(narrow, clip, **changes)


def test_a_clip_longer_than_memory_is_said(narrow, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2**25))
    with pytest.raises(ValueError, match="a shorter clip, of at most"):
        run(narrow, torch.rand(FRAMES, 8 * HEIGHT, 8 * WIDTH, 3), Walking())


def test_an_empty_clip_is_said(narrow):
    with pytest.raises(ValueError, match="no frames"):
        run(narrow, torch.zeros(0, HEIGHT, WIDTH, 3), Walking())


def stop():
    raise comfy.model_management.InterruptProcessingException


def test_it_stops_when_the_user_does(narrow, clip, monkeypatch):
    monkeypatch.setattr(host.model_management, "throw_exception_if_processing_interrupted", stop)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        run(narrow, clip, Walking())


@pytest.mark.parametrize("work", ["encode", "decode"])
def test_it_stops_between_a_few_frames_and_the_next(narrow, clip, monkeypatch, work):
    real, done = getattr(Averaging, work), []

    def asked_meanwhile(vae, frames):
        monkeypatch.setattr(host.model_management, "throw_exception_if_processing_interrupted", stop)
        done.append(len(frames))
        return real(vae, frames)

    monkeypatch.setattr(Averaging, work, asked_meanwhile)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        run(narrow, clip, Walking())
    assert done == [host.FRAMES_AT_ONCE]
