"""Tiled VCD inside ComfyUI: what comes back, at which size, and what is refused."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close
from vcd_pack.nodes import tiles
from vcd_pack.nodes.host import upscaling

CLIP = (
    torch.rand(3, 20, 28, 3, generator=torch.Generator().manual_seed(0)).repeat_interleave(2, 1).repeat_interleave(2, 2)
)


class Squares:
    """A VAE of squares: latents are the mean of 8x8 pixels, which decode to squares; notes what it was shown."""

    def __init__(self):
        self.encoded, self.decoded, self.tiles = [], [], 0

    def spacial_compression_encode(self):
        return 8

    spacial_compression_decode = spacial_compression_encode

    def encode(self, frames):
        self.encoded.append(tuple(frames.shape))
        small = torch.nn.functional.avg_pool2d(frames.movedim(-1, 1), 8)
        return torch.cat([small, small[:, :1]], 1)

    def decode(self, latents):
        self.decoded.append(tuple(latents.shape))
        return latents[:, :3].repeat_interleave(8, 2).repeat_interleave(8, 3).movedim(1, -1)

    def encode_tiled(self, frames, tile_x, tile_y, overlap):
        self.tiles += 1
        assert overlap < tile_x == tile_y
        return self.encode(frames)

    def decode_tiled(self, latents, tile_x, tile_y, overlap):
        self.tiles += 1
        return self.decode(latents)


@pytest.fixture
def node(narrow, monkeypatch):
    """Runs the node with a narrow model."""
    model, clip = narrow
    words = clip.encode_from_tokens_scheduled(clip.tokenize("a woman"))
    vae = Squares()
    monkeypatch.setattr(upscaling.latent_preview, "prepare_callback", lambda *_: None)

    def run(clip=CLIP, **changes):
        inputs = {"seed": 1, "steps": 2, "cfg": 2.0, "sampler_name": "euler", "scheduler": "normal", "upscale_by": 2.0}
        inputs |= {"strength": 0.5, "gamma": 0.1, "tile": 64, "overlap": 16, "window": 2, "window_overlap": 1}
        with torch.inference_mode():
            made = tiles.TiledVCD.execute(clip, model, vae, words, words, **(inputs | changes))
        return made.args[0]

    return SimpleNamespace(run=run, vae=vae)


def test_strength_nought_gives_the_enlarged_clip_and_asks_nobody(node):
    made = node.run(strength=0.0)
    for frame, enlarged in zip(CLIP, made, strict=True):
        for channel in range(3):
            picture = Image.fromarray(frame[..., channel].numpy()).resize((112, 80), Image.Resampling.LANCZOS)
            assert torch.equal(enlarged[..., channel], torch.from_numpy(np.clip(picture, 0, 1)))
    assert not node.vae.encoded


def test_at_its_own_size_and_strength_nought_nothing_changes(node):
    assert torch.equal(node.run(strength=0.0, upscale_by=1.0), CLIP)


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_a_clip_is_enlarged_and_drawn_anew(node, strength):
    made = node.run(strength=strength)
    assert made.shape == (3, 80, 112, 3)
    assert made.dtype == torch.float32
    assert 0 <= made.min() < made.max() <= 1
    assert (made - node.run(strength=0.0)).abs().mean() > 0.01
    assert torch.equal(made, node.run(strength=strength))
    assert (made - node.run(strength=strength, seed=2)).abs().mean() > 0.001


@pytest.mark.parametrize("upscale_by", [1.0, 1.13, 2.5])
def test_sizes_need_not_be_divisible_by_8(node, upscale_by):
    clip = CLIP[:, :37, :53]
    made = node.run(clip, upscale_by=upscale_by)
    assert made.shape == (3, round(37 * upscale_by), round(53 * upscale_by), 3)
    assert all(height % 8 == width % 8 == 0 for _, height, width, _ in node.vae.encoded)


def test_transparency_is_enlarged_with_the_picture(node):
    alpha = torch.linspace(0, 1, 56).expand(3, 40, 56)[..., None]
    made = node.run(torch.cat([CLIP, alpha], -1))
    assert_close(made[..., :3], node.run(), rtol=0, atol=0)
    assert_close(made[0, 0, 8:-8, 3], torch.linspace(0, 1, 112)[8:-8], rtol=0, atol=0.01)


def test_large_frames_go_through_the_vae_in_tiles(node, monkeypatch):
    monkeypatch.setattr(upscaling, "VAE_OVERLAP", 16)
    monkeypatch.setattr(upscaling, "WHOLE", 96)
    node.run()
    assert node.vae.tiles == 1 + 3  # three frames encoded together, and decoded one by one
    monkeypatch.setattr(upscaling, "WHOLE", 112)
    node.run()
    assert node.vae.tiles == 4


def test_an_upscale_model_comes_first(node, monkeypatch):
    from comfy_extras import nodes_upscale_model

    seen = []

    def execute(upscaler, frames):
        seen.append((upscaler, len(frames)))
        return SimpleNamespace(args=(1 - frames.repeat_interleave(4, 1).repeat_interleave(4, 2),))

    monkeypatch.setattr(nodes_upscale_model.ImageUpscaleWithModel, "execute", execute)
    made = node.run(CLIP.repeat(2, 1, 1, 1), strength=0.0, upscale_model="a model")
    assert seen == [("a model", 4), ("a model", 2)]
    assert made.shape == (6, 80, 112, 3)
    assert_close(made.mean(), 1 - CLIP.mean(), rtol=0, atol=0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tile": 68}, "tile must be a multiple of 8 pixels"),
        ({"overlap": 12}, "overlap must be a multiple of 8 pixels"),
        ({"overlap": 64}, "tiles of 64 pixels cannot overlap by 64"),
        ({"window_overlap": 2}, "windows of 2 frames cannot overlap by 2"),
        ({"upscale_by": 8000.0}, r"3 frames of 448000x320000 need .* GB of memory and .* are free: give"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is(node, changes, message):
    with pytest.raises(ValueError, match=message):
        node.run(**changes)
    assert not node.vae.encoded


def test_windows_that_overlap_by_all_are_refused(narrow):
    with pytest.raises(ValueError, match="windows of 8 frames cannot overlap by 8"):
        tiles.ContextWindows.execute(narrow[0], 8, 8)
