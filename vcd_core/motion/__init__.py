"""AnimateDiff motion modules and motion LoRA, without a framework."""

from .files import load_motion_module, read_motion_state_dict
from .lora import LowRank, check_motion_lora, merge_motion_lora, read_motion_lora
from .module import MotionModule, config_from_state_dict
from .transformer import OPERATIONS, MotionConfig, TemporalTransformer

__all__ = [
    "OPERATIONS",
    "LowRank",
    "MotionConfig",
    "MotionModule",
    "TemporalTransformer",
    "check_motion_lora",
    "config_from_state_dict",
    "load_motion_module",
    "merge_motion_lora",
    "read_motion_lora",
    "read_motion_state_dict",
]
