"""The pages that the demo leaves: a contact sheet, a loss curve and a short HTML report."""

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vcd_core.files import unfinished_file

CAPTION, GAP, SIDE = 20, 4, 128


def write_contact_sheet(path: Path, rows: Sequence[tuple[str, Tensor]], columns: int = 8) -> Path:
    """Rows of pictures (N, 3, H, W) in [0, 1], each under its words; long rows are broken."""
    width = columns * (SIDE + GAP) + GAP
    lines = [
        (words if start == 0 else "", pictures[start : start + columns])
        for words, pictures in rows
        for start in range(0, len(pictures), columns)
    ]
    height = GAP + sum((CAPTION if words else 0) + SIDE + GAP for words, _ in lines)
    sheet = Image.new("RGB", (width, height), "white")
    pen, top = ImageDraw.Draw(sheet), GAP
    for words, pictures in lines:
        if words:
            pen.text((GAP, top), words, fill="black", font=ImageFont.load_default(13))
            top += CAPTION
        small = F.interpolate(pictures, (SIDE, SIDE), mode="area") if pictures.shape[-1] != SIDE else pictures
        for index, picture in enumerate(small):
            pixels = (picture.clamp(0, 1) * 255).round().byte().movedim(0, -1).numpy()
            sheet.paste(Image.fromarray(pixels), (GAP + index * (SIDE + GAP), top))
        top += SIDE + GAP
    with unfinished_file(path) as unfinished:
        sheet.save(unfinished, format="PNG")
    return path


def write_loss(path: Path, losses: Sequence[float], noun: str, window: int = 20) -> Path:
    """The loss of every step and its running mean."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(range(1, len(losses) + 1), losses, color="0.8", label="each step")
    if len(losses) > window:
        mean = np.convolve(losses, np.full(window, 1 / window), mode="valid")
        axes.plot(range(window, len(losses) + 1), mean, label=f"mean of the last {window} steps")
    axes.set(xlabel="step", ylabel="masked loss", title=f"Learning the {noun}", ylim=(0, 1.1 * max(losses)))
    axes.legend()
    with unfinished_file(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=110)
    return path


def write_html(
    path: Path, title: str, facts: Mapping[str, str], scores: Mapping[str, np.ndarray], files: Mapping[str, str]
) -> Path:
    """What was made, with pictures and clips beside the page.

    Args:
        facts: what was done, a line each.
        scores: identity similarity of every measured picture, by what the subject was called.
        files: caption -> file name in the page's folder; .mp4 are shown as clips, others as pictures.
    """
    escape = html.escape
    lines = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts.items())
    measured = "".join(
        f"<tr><th>{escape(name)}</th><td>{values.mean():.2f}</td><td>{values.std():.2f}</td><td>{len(values)}</td></tr>"
        for name, values in scores.items()
    )
    table = (
        "<h2>Identity similarity</h2><p>Mean over attributes, 1 is exactly this character; read by a network that "
        "was trained on drawings alone.</p><table><tr><th>subject called by</th><th>mean</th><th>spread</th>"
        f"<th>pictures</th></tr>{measured}</table>"
        if scores
        else ""
    )
    shown = "".join(
        f"<figure><figcaption>{escape(caption)}</figcaption>"
        + (
            f'<video src="{escape(file)}" autoplay loop muted controls playsinline></video>'
            if file.endswith(".mp4")
            else f'<img src="{escape(file)}" alt="{escape(caption)}">'
        )
        + "</figure>"
        for caption, file in files.items()
    )
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse }} th, td {{ text-align: left; padding: .2rem 1rem .2rem 0; vertical-align: top }}
figure {{ display: inline-block; margin: 1rem 1rem 0 0 }} img {{ max-width: 100% }} video {{ display: block; zoom: 2 }}
</style></head><body><h1>{escape(title)}</h1><table>{lines}</table>{shown}{table}</body></html>
"""
    with unfinished_file(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return path


def write_summary(path: Path, summary: Mapping) -> Path:
    with unfinished_file(path) as unfinished:
        unfinished.write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def frames_of(clip: Tensor, count: int = 8) -> Tensor:
    """`count` frames spread over a clip (F, H, W, 3), as (count, 3, H, W)."""
    chosen = torch.linspace(0, len(clip) - 1, count).round().long()
    return clip[chosen].movedim(-1, 1)
