"""All temporal transformers of one AnimateDiff motion module, named as its files name them."""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from .transformer import OPERATIONS, MotionConfig, TemporalTransformer


class MotionModule(nn.Module):
    """The temporal transformers that AnimateDiff inserts into a UNet (arXiv:2307.04725).

    State-dict keys are those of AnimateDiff's files. `down_blocks[i].motion_modules[j]` belongs behind the j-th
    attention of the UNet's i-th down block (behind the ResNet block where there is no attention), likewise
    `up_blocks`, and `mid_block.motion_modules[0]` between the middle block's attention and its second ResNet
    block; `mid_block` is None where the file has none. There is no forward: a UNet calls
    `….motion_modules[j](x, frames)` in these places.

    Args:
        config: sizes, usually from `config_from_state_dict`.
        operations: where Linear, LayerNorm and GroupNorm come from: a namespace like torch.nn.
        dtype, device: of the weights.
    """

    def __init__(self, config: MotionConfig, *, operations=OPERATIONS, dtype=None, device=None):
        super().__init__()
        _check(config)
        self.config = config

        def block(channels: int, count: int) -> MotionBlock:
            return MotionBlock(channels, count, config, operations=operations, dtype=dtype, device=device)

        inwards, outwards = config.channels, config.channels[::-1]
        self.down_blocks = nn.ModuleList(map(block, inwards, config.down_modules))
        self.mid_block = block(inwards[-1], 1) if config.mid_block else None
        self.up_blocks = nn.ModuleList(map(block, outwards, config.up_modules))


class MotionBlock(nn.Module):
    """The temporal transformers of one UNet block, in the order in which the block runs them."""

    def __init__(self, channels: int, count: int, config: MotionConfig, **factory):
        super().__init__()
        self.motion_modules = nn.ModuleList(MotionSlot(channels, config, **factory) for _ in range(count))


class MotionSlot(nn.Module):
    """One place in a UNet; a level of its own only because the file's keys have it."""

    def __init__(self, channels: int, config: MotionConfig, **factory):
        super().__init__()
        self.temporal_transformer = TemporalTransformer(channels, config, **factory)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """(B*F, C, H, W) -> the same; see TemporalTransformer.forward."""
        return self.temporal_transformer(x, frames)


def config_from_state_dict(state_dict: Mapping[str, Tensor], heads: int = 8) -> MotionConfig:
    """The config of the MotionModule whose state dict this is, in AnimateDiff's layout.

    Args:
        state_dict: tensors by name; only shapes are read.
        heads: attention heads, which no tensor's shape tells. Every published module has 8.

    Raises:
        ValueError: names are missing or left over, or shapes contradict each other.
    """
    slot = re.compile(r"(down|up)_blocks\.(\d+)\.motion_modules\.(\d+)\.")
    counts: dict[str, dict[int, int]] = {"down": {}, "up": {}}
    for key in state_dict:
        if found := slot.match(key):
            side, level, index = found[1], int(found[2]), int(found[3])
            counts[side][level] = max(counts[side].get(level, 0), index + 1)
    if not counts["down"] or not counts["up"]:
        raise ValueError("it has no down_blocks.N.motion_modules and up_blocks.N.motion_modules")

    levels = range(max(counts["down"]) + 1)
    norms = [f"down_blocks.{level}.motion_modules.0.temporal_transformer.norm.weight" for level in levels]
    tables = [value for key, value in state_dict.items() if key.endswith("pos_encoder.pe")]
    positions = {table.shape[1] for table in tables if table.ndim == 3}
    if missing := [norm for norm in norms if norm not in state_dict]:
        raise ValueError(f"it lacks {missing[0]}")
    if len(positions) != 1:
        raise ValueError(f"its positions should be of one length, but are of {sorted(positions) or 'none'}")
    config = MotionConfig(
        channels=tuple(len(state_dict[norm]) for norm in norms),
        down_modules=tuple(counts["down"].get(level, 0) for level in levels),
        up_modules=tuple(counts["up"].get(level, 0) for level in levels),
        mid_block=any(key.startswith("mid_block.motion_modules.") for key in state_dict),
        max_frames=positions.pop(),
        heads=heads,
    )
    expected = {key: value.shape for key, value in MotionModule(config, device="meta").state_dict().items()}
    common = expected.keys() & state_dict.keys()
    for complaint, keys in {
        "it lacks": expected.keys() - common,
        "it has unknown weights:": state_dict.keys() - common,
        "it has weights of unexpected shape:": {key for key in common if state_dict[key].shape != expected[key]},
    }.items():
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise ValueError(f"{complaint} {', '.join(sorted(keys)[:3])}{more}")
    return config


def _check(config: MotionConfig) -> None:
    if not len(config.channels) == len(config.down_modules) == len(config.up_modules):
        raise ValueError(f"channels, down_modules and up_modules must be of one length, got {config}")
    if bad := [channels for channels in config.channels if channels % 32 or channels % config.heads]:
        raise ValueError(f"channels must be multiples of 32 and of {config.heads} heads, got {bad[0]}")
