"""What the commands of `vcd` do: check what is quick to check, then load, work and write."""

import argparse
import sys
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

import torch

from ..identity import (
    Augmentation,
    IDToken,
    Recipe,
    TrainingDiverged,
    TrainingOptions,
    check_token_name,
    convert_id_token,
    find_id_token,
    id_tokens_in,
    load_photos,
    make_thumbnail,
    save_id_token,
    save_or_reuse_id_token,
    save_partial_id_token,
    save_token_sheet,
    training_file,
)
from ..motion import MotionModule, load_motion_module, merge_motion_lora, read_motion_lora
from ..video import write_video
from .checkpoint import load_checkpoint
from .pipeline import ClipOptions, make_clip, plan, train_token
from .prompts import parse_prompt


def train(arguments: argparse.Namespace) -> None:
    name = check_token_name(arguments.name)
    recipe = Recipe(
        arguments.noun.strip(),
        arguments.size,
        arguments.tokens,
        arguments.initial_words,
        None if arguments.no_augmentation else Augmentation(),
        arguments.early_stop > 0,
        TrainingOptions(
            arguments.steps,
            arguments.batch_size,
            arguments.learning_rate,
            arguments.weight_decay,
            arguments.hold_norm,
            arguments.context_weight,
            noise_offset=arguments.noise_offset,
            seed=arguments.seed,
            patience=arguments.early_stop,
        ),
    )
    photos = load_photos(arguments.photos)
    arguments.out.mkdir(parents=True, exist_ok=True)
    say(f"loading {arguments.checkpoint}")
    model = load_checkpoint(arguments.checkpoint, device=best_device()).in_precision(arguments.precision)
    if not arguments.keep_activations:
        model.unet.enable_gradient_checkpointing()

    planned = plan(model, photos, recipe, linear=arguments.linear_schedule)
    for remark in planned.remarks:
        say(remark)
    there = None if arguments.overwrite else find_id_token(arguments.out, name, planned.settings)
    if there is not None:
        say(f"{there.name} was trained on the same photos with the same settings: write {there.prompt!r} into a prompt")
        return
    checkpoint = training_file(arguments.out, name, planned.settings)
    failure = None
    try:
        state = train_token(model, planned, checkpoint=checkpoint, linear=arguments.linear_schedule)
    except TrainingDiverged as error:
        failure, state = error, error.last
        if state is None:
            raise ValueError(str(error)) from error
    token = IDToken(
        name,
        state.vectors.cpu(),
        recipe.noun,
        state.step,
        arguments.checkpoint.stem,
        date.today().isoformat(),
        planned.settings,
        repr(recipe),
        state.losses,
        make_thumbnail(planned.shown()[0, :3].movedim(0, -1)),
    )
    if failure is not None:
        kept = save_partial_id_token(token, arguments.out)
        raise ValueError(f"{failure}. The vectors of step {state.step} were kept in {kept}") from failure
    save = partial(save_id_token, overwrite=True) if arguments.overwrite else save_or_reuse_id_token
    path = save(token, arguments.out)
    checkpoint.unlink(missing_ok=True)
    if state.parts > 1:
        say(f"batches were split into {state.parts} to fit into memory")
    say(f"{path}: write {replace(token, name=path.stem).prompt!r} into a prompt")


def tokens(arguments: argparse.Namespace) -> None:
    found = id_tokens_in(arguments.folder)
    if not found:
        raise ValueError(f"there are no ID tokens in {arguments.folder}")
    for token in found:
        about = f"{len(token.vectors)} vectors of {token.vectors.shape[1]}, {token.steps} steps"
        say("  ".join(part for part in (f"{token.name:24}", f"{token.noun:12}", about, token.base, token.date) if part))
    if arguments.sheet is not None:
        say(f"{save_token_sheet(found, arguments.sheet)}: the pictures of all")


def convert(arguments: argparse.Namespace) -> None:
    path = convert_id_token(
        arguments.file, arguments.out, name=arguments.name, noun=arguments.noun, overwrite=arguments.overwrite
    )
    say(str(path))


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
