"""What every command does: says lines, chooses a device, loads a motion module."""

import argparse
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import torch

from ..files import check_writable
from ..motion import MotionModule, load_motion_module, merge_motion_lora, read_motion_lora
from .checkpoint import load_checkpoint
from .controlnet import Control, load_controlnet
from .model import StableDiffusion


def best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def loaded(checkpoint: Path) -> StableDiffusion:
    say(f"loading {checkpoint}")
    return load_checkpoint(checkpoint, device=best_device())


def check_files(*files: Path | None) -> None:
    """Raises ValueError for the first that is named and not there."""
    for file in files:
        if file is not None and not file.is_file():
            raise ValueError(f"there is no file {file}: check the name")


def check_output(output: Path, suffixes: Collection[str]) -> None:
    """Raises ValueError for a name that cannot be written to, or that ends in none of the suffixes."""
    if output.suffix.lower() not in suffixes:
        raise ValueError(f"the output {output} must end in {' or '.join(sorted(suffixes))}")
    if output.is_dir():
        raise ValueError(f"the output {output} is a folder: add a file name")
    check_folder(f"the output {output}", output.parent)


def check_folder(what: str, folder: Path) -> None:
    """Raises the ValueError of `check_writable`; `what` the user gave is named."""
    try:
        check_writable(folder)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error


def motion_of(arguments: argparse.Namespace) -> MotionModule | None:
    """The motion module, if one is named, with its LoRAs."""
    if arguments.motion_module is None:
        if arguments.motion_lora:
            raise ValueError("a motion LoRA changes a motion module: add --motion-module FILE")
        say("no motion module: the frames will not move as one clip")
        return None
    motion = load_motion_module(arguments.motion_module, dtype=torch.float32, device=best_device())
    motion.requires_grad_(False)
    for file, strength in arguments.motion_lora:
        merge_motion_lora(motion, read_motion_lora(file), strength, file.name)
    return motion


def controls_of(named: Sequence[tuple[Path, float]]) -> list[Control]:
    return [Control(load_controlnet(file, device=best_device()), strength) for file, strength in named]


def check_frames(motion: MotionModule | None, frames: int, option: str) -> None:
    if motion is not None and frames > motion.config.max_frames:
        most = motion.config.max_frames
        raise ValueError(f"{option} {frames}: the motion module knows {most} frames at most, give {most} or fewer")
