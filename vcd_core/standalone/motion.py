"""A motion module inside a diffusers UNet, for as long as it is needed."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from ..motion import MotionModule, TemporalTransformer


@contextmanager
def inserted_motion(unet: nn.Module, module: MotionModule) -> Iterator[None]:
    """Within it the UNet takes every batch for one clip, whose frames see each other.

    Each temporal transformer runs behind an attention of the UNet (behind the ResNet block where there is none), as
    a forward hook on it. Afterwards the hooks are gone and the UNet is what it was.

    Raises:
        ValueError: the module was made for another UNet.
    """
    hooks = []
    try:
        for layer, transformer in _places(unet, module):
            hooks.append(layer.register_forward_hook(_moving(transformer)))
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _moving(transformer: TemporalTransformer):
    def move(_layer, _inputs, output):
        if isinstance(output, Tensor):
            return transformer(output, len(output))
        hidden, *others = output  # of an attention that is asked for a tuple, as the UNet's blocks do
        return (transformer(hidden, len(hidden)), *others)

    return move


def _places(unet: nn.Module, module: MotionModule) -> list[tuple[nn.Module, TemporalTransformer]]:
    """Pairs the layers of the UNet with the temporal transformers that follow them."""
    layers, channels = [], []
    for block in (*unet.down_blocks, *unet.up_blocks):
        layers += getattr(block, "attentions", block.resnets)
        channels += [resnet.out_channels for resnet in block.resnets]
    transformers = [
        slot.temporal_transformer for block in (*module.down_blocks, *module.up_blocks) for slot in block.motion_modules
    ]
    if module.mid_block is not None:
        layers += unet.mid_block.attentions
        channels += [unet.mid_block.resnets[0].out_channels]
        transformers.append(module.mid_block.motion_modules[0].temporal_transformer)
    theirs = [transformer.norm.num_channels for transformer in transformers]
    if theirs != channels:
        raise ValueError(
            f"the motion module does not fit the checkpoint: its channels are {theirs}, the checkpoint's {channels}. "
            "Modules for Stable Diffusion 1.5 need a checkpoint of that family"
        )
    return list(zip(layers, transformers, strict=True))
