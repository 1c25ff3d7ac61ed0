"""What `vcd train` and `vcd t2v` do: check what is quick to check, then load, work and write."""

import argparse
import sys
from datetime import date
from pathlib import Path

import torch

from ..identity import (
    IDToken,
    TrainingDiverged,
    TrainingOptions,
    check_token_name,
    load_photos,
    save_id_token,
    save_partial_id_token,
)
from ..motion import MotionModule, load_motion_module, merge_motion_lora, read_motion_lora
from ..video import write_video
from .checkpoint import load_checkpoint
from .pipeline import ClipOptions, make_clip, train_token
from .prompts import parse_prompt


def train(arguments: argparse.Namespace) -> None:
    path = arguments.out / f"{check_token_name(arguments.name)}.safetensors"
    if path.exists() and not arguments.overwrite:
        raise ValueError(f"{path} exists already: choose another name or add --overwrite")
    noun = arguments.noun.strip()
    if not noun:
        raise ValueError("--noun is empty: give a word for what the subject is, such as woman or cat")
    photos = load_photos(arguments.photos)
    options = TrainingOptions(
        arguments.steps, arguments.batch_size, learning_rate=arguments.learning_rate, seed=arguments.seed
    )
    say(f"loading {arguments.checkpoint}")
    model = load_checkpoint(arguments.checkpoint, device=best_device())
    model.unet.enable_gradient_checkpointing()  # a third slower, a fraction of the memory

    failure = None
    try:
        steps = train_token(model, photos, noun, token_count=arguments.tokens, size=arguments.size, options=options)
        last = steps[-1]
    except TrainingDiverged as error:
        failure, last = error, error.last
        if last is None:
            raise ValueError(str(error)) from error
    token = IDToken(
        arguments.name, last.vectors.cpu(), noun, last.number, arguments.checkpoint.stem, date.today().isoformat()
    )
    if failure is not None:
        kept = save_partial_id_token(token, arguments.out)
        raise ValueError(f"{failure}. The vectors of step {last.number} were kept in {kept}") from failure
    save_id_token(token, arguments.out, overwrite=arguments.overwrite)
    say(f"{path}: write {token.prompt!r} into a prompt")


def t2v(arguments: argparse.Namespace) -> None:
    if arguments.output.suffix.lower() != ".mp4":
        raise ValueError(f"the output {arguments.output} must end in .mp4")
    prompt = parse_prompt(arguments.prompt, arguments.embeddings)
    negative = parse_prompt(arguments.negative, arguments.embeddings)
    options = ClipOptions(
        arguments.frames,
        arguments.size,
        arguments.steps,
        arguments.cfg,
        arguments.sampler,
        arguments.scheduler,
        arguments.gamma,
        arguments.seed,
    )
    device = best_device()
    motion = None
    if arguments.motion_module is not None:
        motion = _load_motion(arguments.motion_module, arguments.motion_lora, device)
        if options.frames > motion.config.max_frames:
            raise ValueError(f"--frames {options.frames}: this motion module knows at most {motion.config.max_frames}")
    elif arguments.motion_lora:
        raise ValueError("a motion LoRA changes a motion module: add --motion-module FILE")
    else:
        say("no motion module: the frames will not move as one clip")
    say(f"loading {arguments.checkpoint}")
    model = load_checkpoint(arguments.checkpoint, device=device)
    clip = make_clip(model, prompt, negative, options, motion)
    say(f"{write_video(arguments.output, clip, arguments.fps)}: {len(clip)} frames")


def best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _load_motion(path: Path, loras: list[tuple[Path, float]], device: str) -> MotionModule:
    motion = load_motion_module(path, dtype=torch.float32, device=device).requires_grad_(False)
    for file, strength in loras:
        merge_motion_lora(motion, read_motion_lora(file), strength)
    return motion
