"""What `make demo` does, from the photos to the report."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vcd_core.identity import (
    IDToken,
    Photo,
    Recipe,
    TrainingOptions,
    cropped,
    faded,
    load_photos,
    save_id_token,
)
from vcd_core.motion import MotionModule
from vcd_core.standalone.console import check_folder
from vcd_core.standalone.demo_model import (
    STYLE_FILE,
    load_demo_face_detector,
    load_demo_model,
    load_demo_motion,
    require_memory,
)
from vcd_core.standalone.model import StableDiffusion
from vcd_core.standalone.pipeline import ClipOptions, make_clip, plan, train_token
from vcd_core.standalone.prompts import parse_prompt
from vcd_core.standalone.style import merge_style
from vcd_core.standalone.weights_folder import verified_file
from vcd_core.video import write_video
from vcd_core.vision import FaceDetector

from . import measure
from .characters import Look
from .faces import GAMMA as FACE_GAMMA
from .faces import NEAR, draw_faces_anew
from .people import CAST, PHOTO_PLACES, PHOTOS, member
from .report import frames_of, write_contact_sheet, write_html, write_loss, write_summary
from .tiles import PART, enlarge
from .tiles import STEPS as TILE_STEPS
from .weights import WEIGHTS, load_eyes

FRAMES, SIZE, FPS, TOKENS = 16, 128, 8.0, 4
STEPS, BATCH, LEARNING_RATE = 100, 8, 3e-3
DECAY, MASK_MARGIN = 0.6, 1 / 8
FULL, FULL_PLACE = "a full body photo of", "in a desert"
CLIPS = {
    "beach": "a half body photo of a {} on a beach",
    "snow": "a portrait of a {} in the snow",
    "moon": "a photo of a {} on the moon",
}


def run(arguments: argparse.Namespace) -> None:
    start = time.perf_counter()
    require_memory()
    out: Path = arguments.out
    check_folder(f"--out {out}", out)
    own = arguments.photos is not None
    name = "subject" if own else arguments.character
    noun = arguments.noun if own else CAST[name][0]
    folder = arguments.photos if own else PHOTOS / name

    say(f"Loading the demo model and the photos in {folder}")
    model, motion = load_demo_model(WEIGHTS), load_demo_motion(WEIGHTS)
    eyes, detector = None if own else load_eyes(), load_demo_face_detector(WEIGHTS)
    style = verified_file(WEIGHTS, STYLE_FILE) if arguments.style != "soft" else None
    photos = load_photos(folder)
    token, losses = token_of(model, photos, name, noun, arguments.seed)
    save_id_token(token, out, overwrite=True)

    if style is not None:
        merge_style(model.unet, style)
    scores = {} if eyes is None else measured(model, eyes, member(name), token, arguments.seed)
    clips, files = {}, {}
    for title, words in CLIPS.items():
        prompt = words.format(token.prompt)
        say(prompt)
        options = ClipOptions(FRAMES, SIZE, measure.STEPS, measure.CFG, gamma=arguments.gamma, seed=arguments.seed)
        clips[prompt] = make_clip(model, parse_prompt(prompt, out), parse_prompt("", out), options, motion)
        files[prompt] = write_video(out / f"{title}.mp4", clips[prompt], FPS).name
    for called, (title, clip) in from_head_to_foot(model, motion, detector, token, out, arguments).items():
        clips[called] = clip
        files[called] = write_video(out / f"{title}.mp4", clip, FPS).name

    pictures = torch.stack([cropped(photo, SIZE, MASK_MARGIN) for photo in photos])
    sheet = write_contact_sheet(
        out / "contact_sheet.png",
        [
            ("the photos it learned from (outside the mask: faded)", faded(pictures)),
            *((prompt, frames_of(clip)) for prompt, clip in clips.items()),
        ],
    )
    loss = write_loss(out / "loss.png", losses, noun)
    seconds = time.perf_counter() - start
    facts = {
        "photos": f"{len(photos)} in {folder}",
        "ID token": f"{token.prompt}: {TOKENS} vectors, {STEPS} steps",
        "clips": f"{FRAMES} frames of {SIZE}x{SIZE}, those of the last of {2 * SIZE}x{2 * SIZE}, "
        f"gamma {arguments.gamma}, seed {arguments.seed}, "
        f"style {arguments.style}",
        "time": f"{seconds:.0f} s",
    }
    page = write_html(
        out / "index.html",
        f"{name}, from {len(photos)} photos",
        facts,
        {called: np.asarray(values) for called, values in scores.items()},
        {"photos and clips": sheet.name, **files, "training": loss.name},
    )
    summary = {
        **facts,
        "identity_similarity": {called: float(np.mean(values)) for called, values in scores.items()},
        "seconds": round(seconds, 1),
        "files": [str(page), str(sheet), str(loss), *(str(out / file) for file in files.values())],
    }
    write_summary(out / "summary.json", summary)
    say(f"\nDone in {seconds:.0f} s. Open {page}, or look at {sheet}")


def from_head_to_foot(
    model: StableDiffusion,
    motion: MotionModule,
    detector: FaceDetector,
    token: IDToken,
    out: Path,
    arguments: argparse.Namespace,
) -> dict[str, tuple[str, Tensor]]:
    """A clip of all of her and what Face VCD and then Tiled VCD make of it: titles of the report, and of the files."""
    from tqdm import tqdm

    prompts = {opening: parse_prompt(f"{opening} a {token.prompt} {FULL_PLACE}", out) for opening in (FULL, NEAR, PART)}
    say(f"{FULL} a {token.prompt} {FULL_PLACE}, and Face VCD and Tiled VCD")
    seed, gamma = arguments.seed, arguments.gamma
    options = ClipOptions(FRAMES, SIZE, measure.STEPS, measure.CFG, gamma=gamma, seed=seed)
    clip = make_clip(model, prompts[FULL], parse_prompt("", out), options, motion)
    with tqdm(desc="drawing the face anew", unit="step") as progress:

        def step(done: int, total: int) -> None:
            progress.total = total
            progress.update(done - progress.n)

        refined, _ = draw_faces_anew(model, motion, detector, clip, prompts[NEAR], seed, FACE_GAMMA, step)
    with tqdm(desc="drawing it in tiles", total=TILE_STEPS, unit="step") as progress:
        large = enlarge(model, motion, refined, prompts[PART], seed, gamma, progress.update)
    return {
        f"{FULL} a {token.prompt} {FULL_PLACE}": ("full", clip),
        "the same, its face drawn anew by Face VCD": ("full_face", refined),
        "and twice as large by Tiled VCD": ("full_face_large", large),
    }


def training_options(seed: int) -> TrainingOptions:
    return TrainingOptions(
        STEPS,
        BATCH,
        LEARNING_RATE,
        hold_norm=True,
        context_weight=1.0,
        contexts=PHOTO_PLACES,
        seed=seed,
        decay=DECAY,
    )


def recipe_of(noun: str, seed: int) -> Recipe:
    return Recipe(noun, SIZE, TOKENS, augmentation=None, options=training_options(seed), mask_margin=MASK_MARGIN)


def token_of(
    model: StableDiffusion, photos: Sequence[Photo], name: str, noun: str, seed: int
) -> tuple[IDToken, list[float]]:
    """The token, and the loss of every step."""
    state = train_token(model, plan(model, photos, recipe_of(noun, seed)))
    return IDToken(name, state.vectors, noun, state.step, base="demo model"), list(state.losses)


def measured(
    model: StableDiffusion, eyes: measure.Eyes, look: Look, token: IDToken, seed: int
) -> dict[str, np.ndarray]:
    """Identity similarity of ten pictures each, in places that no photo shows."""
    subjects = {
        f"the noun alone ({look.noun})": measure.by_noun(look),
        f"the ID token ({token.prompt})": measure.by_token(look, token.vectors),
        "a caption of every attribute": measure.by_caption(look),
    }
    scores = {}
    for called, subject in subjects.items():
        pictures = measure.draw_prompts(model, measure.subject_prompts(subject), seed, called)
        scores[called] = measure.identity_scores(look, eyes.read(pictures))
        say(f"identity similarity by {called}: {scores[called].mean():.2f}")
    return scores


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
