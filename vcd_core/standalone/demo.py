"""`vcd demo`: photos -> ID token -> clip -> mp4 in less than a minute, on a small model of random weights."""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..files import unfinished_file
from ..identity import IDToken, TrainingOptions, load_photos, save_id_token, training_images
from ..video import write_video
from .commands import say
from .pipeline import ClipOptions, make_clip, train_token
from .prompts import parse_prompt
from .random_model import random_model, random_motion_module

NOTICE = (
    "The demo model has RANDOM WEIGHTS, because a trained one does not ship yet: the clip is noise. "
    "What is shown is the chain: photos, ID token, prompt, clip, file."
)
NAME, NOUN = "ava", "woman"
SIZE, FPS, SEED = 128, 8.0, 0
TRAINING = TrainingOptions(steps=25, batch_size=2, seed=SEED)
CLIP = ClipOptions(frames=16, size=SIZE, steps=8, gamma=0.1, seed=SEED)


def demo(arguments: argparse.Namespace) -> None:
    start = time.perf_counter()
    out: Path = arguments.out
    say(NOTICE)
    folder = getattr(arguments, "photos", None)
    if folder is None:
        folder = out / "photos"
        draw_photos(folder)
    photos = load_photos(folder)
    model, motion = random_model(SEED), random_motion_module(SEED)

    steps = train_token(model, photos, NOUN, token_count=4, size=SIZE, options=TRAINING)
    token = IDToken(NAME, steps[-1].vectors, NOUN, steps[-1].number, base="random demo model")
    token_file = save_id_token(token, out, overwrite=True)
    prompt = f"a photo of {token.prompt} on a beach"
    clip = make_clip(model, parse_prompt(prompt, out), parse_prompt("", out), CLIP, motion)

    pictures, masks = training_images(photos, SIZE)
    shown = slice(len(photos))  # without their mirror images
    files = {
        "token": token_file,
        "clip": write_video(out / "clip.mp4", clip, FPS),
        "contact_sheet": write_contact_sheet(out / "contact_sheet.png", pictures[shown], masks[shown], clip),
        "loss": write_loss(out / "loss.png", [step.loss for step in steps]),
    }
    summary = {
        "notice": NOTICE,
        "weights": "random",
        "photos": [str(folder / photo.name) for photo in photos],
        "prompt": prompt,
        "frames": CLIP.frames,
        "fps": FPS,
        "size": SIZE,
        "seed": SEED,
        "gamma": CLIP.gamma,
        "training_steps": len(steps),
        "loss_first": steps[0].loss,
        "loss_last": steps[-1].loss,
        "seconds": round(time.perf_counter() - start, 1),
        "files": {what: str(path) for what, path in files.items()},
    }
    with unfinished_file(out / "summary.json") as unfinished:
        unfinished.write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    say(f"Done in {summary['seconds']} s. {NOTICE}")
    say(
        f"Look at {files['contact_sheet']}, {files['clip']} and {files['loss']}; {out / 'summary.json'} lists the rest."
    )


def draw_photos(folder: Path, size: int = 192) -> None:
    """Writes three portraits of one drawn woman, cut out by their alpha from three different backgrounds."""
    from PIL import Image, ImageDraw

    scale = 4  # drawn larger and shrunk, for smooth edges
    for index, (x, y, face, background) in enumerate(
        [(0.5, 0.45, 0.22, (120, 170, 215)), (0.42, 0.5, 0.26, (150, 190, 130)), (0.58, 0.42, 0.19, (215, 175, 130))], 1
    ):
        side = size * scale
        picture, mask = Image.new("RGB", (side, side), background), Image.new("L", (side, side), 0)

        def disc(dx, dy, width, height, colour, x=x, y=y, face=face, side=side, canvases=(picture, mask)):
            """An ellipse about the face's centre, all measured in face radii."""
            box = [
                side * (x + face * (dx - width)),
                side * (y + face * (dy - height)),
                side * (x + face * (dx + width)),
                side * (y + face * (dy + height)),
            ]
            for canvas, fill in zip(canvases, (colour, 255), strict=True):
                ImageDraw.Draw(canvas).ellipse(box, fill=fill)

        disc(0, 2.6, 1.7, 1.3, (170, 40, 60))  # shirt
        disc(0, 0.2, 1.3, 1.6, (75, 45, 30))  # hair
        disc(0, 1.2, 0.4, 0.6, (220, 175, 145))  # neck
        disc(0, 0.1, 1.0, 1.2, (235, 190, 160))  # face
        for sign in (-1, 1):
            disc(sign * 0.4, -0.1, 0.2, 0.13, (255, 255, 255))
            disc(sign * 0.4, -0.1, 0.1, 0.12, (60, 110, 70))
        disc(0, 0.75, 0.35, 0.12, (180, 60, 70))
        picture.putalpha(mask)
        with unfinished_file(folder / f"{index}.png") as unfinished:
            picture.resize((size, size), Image.Resampling.LANCZOS).save(unfinished, format="PNG")


def write_contact_sheet(path: Path, images: Tensor, masks: Tensor, clip: Tensor, columns: int = 8) -> Path:
    """The photos as they were trained on, faded outside their masks, above all frames of the clip.

    Args:
        images: (N, 3, S, S) in [-1, 1].
        masks: (N, 1, S, S) in [0, 1].
        clip: (F, S, S, 3) in [0, 1].
    """
    from PIL import Image, ImageDraw

    photos = ((images * 0.5 + 0.5) * (0.25 + 0.75 * masks)).movedim(1, -1)
    caption, gap = 16, 4
    side = clip.shape[1]
    width = columns * (side + gap) + gap
    rows = [math.ceil(len(part) / columns) for part in (photos, clip)]
    sheet = Image.new("RGB", (width, gap + sum(caption + gap + count * (side + gap) for count in rows)), "white")
    top = gap
    for words, part, count in zip(
        ("photos (outside the mask: faded)", f"clip, {len(clip)} frames, RANDOM WEIGHTS: noise is what to expect"),
        (photos, clip),
        rows,
        strict=True,
    ):
        ImageDraw.Draw(sheet).text((gap, top), words, fill="black")
        top += caption + gap
        for index, picture in enumerate(part):
            place = (gap + index % columns * (side + gap), top + index // columns * (side + gap))
            sheet.paste(Image.fromarray((picture.clamp(0, 1) * 255).round().byte().numpy()), place)
        top += count * (side + gap)
    with unfinished_file(path) as unfinished:
        sheet.save(unfinished, format="PNG")
    return path


def write_loss(path: Path, losses: list[float], window: int = 10) -> Path:
    """The loss of every step and its running mean."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.add_subplot()
    numbers = np.arange(1, len(losses) + 1)
    axes.plot(numbers, losses, color="0.75", label="each step")
    if len(losses) > window:
        mean = F.avg_pool1d(torch.tensor(losses)[None], window, stride=1)[0]
        axes.plot(numbers[window - 1 :], mean, label=f"mean of the last {window} steps")
    axes.set(
        xlabel="step",
        ylabel="masked loss",
        title="Learning the ID token (random demo weights)",
        ylim=(0, 1.1 * max(losses)),
    )
    axes.legend()
    with unfinished_file(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=110)
    return path
