"""What the commands of `vcd` do: check what is quick to check, then load, work and write."""

import argparse
from dataclasses import replace
from datetime import date
from functools import partial

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
from .batch import run
from .clip_commands import face, t2v, upscale, v2v
from .console import check_folder, loaded, say
from .evaluation import evaluate
from .pipeline import plan, train_token

__all__ = ["convert", "evaluate", "face", "run", "t2v", "tokens", "train", "upscale", "v2v"]


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
            decay=arguments.decay,
        ),
        arguments.mask_margin,
    )
    photos = load_photos(arguments.photos)
    check_folder(f"--out {arguments.out}", arguments.out)
    model = loaded(arguments.checkpoint).in_precision(arguments.precision)
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
            raise
        checkpoint.unlink(missing_ok=True)  # it would only diverge again
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
    for remark in state.remarks(recipe.options):
        say(remark)
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
