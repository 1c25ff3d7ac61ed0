"""Our modules in a plain UNet, at the places their docstring names, make the UNet that diffusers builds."""

import os

import pytest
import torch
from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from einops import rearrange
from motion_weights import PerFrameNorm

from vcd_core.motion import MotionConfig, MotionModule
from vcd_core.motion.files import animatediff_name, split_shared_positions

CLIPS, FRAMES = 2, 4
slow = pytest.mark.skipif("VCD_SLOW_TESTS" not in os.environ, reason="1.3 billion weights: set VCD_SLOW_TESTS=1")


def insert(module: MotionModule, unet: UNet2DConditionModel):
    """Runs each temporal transformer behind the layer that it belongs to."""
    pairs = [*zip(unet.down_blocks, module.down_blocks, strict=True)]
    pairs += zip(unet.up_blocks, module.up_blocks, strict=True)
    if module.mid_block is not None:
        pairs.append((unet.mid_block, module.mid_block))
    hooks = []
    for block, motion in pairs:
        # The middle block's one temporal transformer goes behind its one attention.
        layers = block.attentions if hasattr(block, "attentions") else block.resnets
        for layer, slot in zip(layers, motion.motion_modules, strict=True):

            def move(_, __, output, slot=slot):
                return (slot(output[0], FRAMES),) if isinstance(output, tuple) else slot(output, FRAMES)

            hooks.append(layer.register_forward_hook(move))
    return hooks


@pytest.mark.parametrize(
    ("channels", "mid_block"),
    [
        ((32, 64), True),
        ((32, 64), False),
        pytest.param((320, 640, 1280, 1280), True, marks=slow),
    ],
)
@torch.no_grad()
def test_a_unet_with_our_modules_is_diffusers_motion_unet(channels, mid_block, rng):
    torch.manual_seed(0)
    levels = len(channels)
    unet = UNet2DConditionModel(
        block_out_channels=channels,
        down_block_types=("CrossAttnDownBlock2D",) * (levels - 1) + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (levels - 1),
        cross_attention_dim=64,
    ).eval()
    adapter = MotionAdapter(channels, motion_max_seq_length=32, use_motion_mid_block=mid_block)
    with torch.device("meta"):  # the weights are shared, for the full size needs five gigabytes even so
        oracle = UNetMotionModel(
            block_out_channels=channels,
            down_block_types=("CrossAttnDownBlockMotion",) * (levels - 1) + ("DownBlockMotion",),
            up_block_types=("UpBlockMotion",) + ("CrossAttnUpBlockMotion",) * (levels - 1),
            cross_attention_dim=64,
            num_attention_heads=8,
            use_motion_mid_block=mid_block,
        ).eval()
        module = MotionModule(MotionConfig(channels, (2,) * levels, (3,) * levels, mid_block, max_frames=32))
    oracle.load_state_dict(unet.state_dict() | adapter.state_dict(), assign=True)
    weights = {animatediff_name(key): value for key, value in adapter.state_dict().items()}
    split_shared_positions(weights)
    module.load_state_dict(weights, assign=True)
    for part in oracle.modules():
        if isinstance(part, AnimateDiffTransformer3D):
            part.norm.__class__ = PerFrameNorm

    x = torch.randn(CLIPS, 4, FRAMES, 8, 8, generator=rng)
    context = torch.randn(CLIPS * FRAMES, 7, 64, generator=rng)
    expected = oracle(x, 500, context).sample
    images = rearrange(x, "b c f h w -> (b f) c h w")
    still = unet(images, 500, context).sample
    insert(module, unet)
    actual = unet(images, 500, context).sample
    expected = rearrange(expected, "b c f h w -> (b f) c h w")
    assert (actual - expected).norm() <= 1e-4 * expected.norm()
    assert (actual - still).norm() > 1e-2 * expected.norm()  # otherwise the line above says nothing
