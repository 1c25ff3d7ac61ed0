"""Groups of options that several commands have."""

import argparse
from pathlib import Path

from .argument_values import (
    at_least_one,
    count,
    file_and_strength,
    fraction,
    not_negative,
    picture_size,
    positive,
    positive_float,
    seed,
)

SAMPLERS = ("dpmpp_2m", "ddim", "euler", "euler_ancestral")
SCHEDULERS = ("karras", "normal")
DETECTORS = ("centerface", "yunet", "insightface", "words")
FACE_ORDERS = ("largest first", "left to right", "top to bottom", "nearest the middle")


def add_video(command: argparse.ArgumentParser) -> None:
    command.add_argument("video", type=Path, help="any video file; it is read twice and never held whole")
    command.add_argument("output", type=Path, help="the .mp4, .mkv or .mov to write; one that is there is replaced")


def add_sampling(
    command: argparse.ArgumentParser, sampler: str, scheduler: str, steps: str = "sampling steps; all are taken"
) -> None:
    command.add_argument("--steps", type=positive, default=20, help=steps)
    command.add_argument("--cfg", type=positive_float, default=8.0, help="how strongly the prompt acts; 1 is fastest")
    command.add_argument("--sampler", choices=SAMPLERS, default=sampler, help="how the noise is taken away")
    command.add_argument("--scheduler", choices=SCHEDULERS, default=scheduler, help="in what steps")
    command.add_argument("--gamma", type=fraction, default=0.1, help="likeness of neighbouring frames' noise, 0 to 1")
    command.add_argument("--seed", type=seed, default=0, help="the same seed gives the same clip")


def add_windows(command: argparse.ArgumentParser) -> None:
    command.add_argument("--window", type=positive, default=16, help="frames drawn together")
    command.add_argument("--overlap", type=count, default=4, help="frames that two windows share at least")


def add_piece(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--piece",
        type=positive,
        default=48,
        help="frames held in memory; all windows in them agree at every step",
    )


def add_tiles(command: argparse.ArgumentParser, upscale_by: float) -> None:
    command.add_argument(
        "--upscale-by", type=at_least_one, default=upscale_by, help="how much larger the picture becomes"
    )
    command.add_argument("--tile", type=picture_size, default=512, help="height and width of a tile in pixels")
    command.add_argument("--tile-overlap", type=count, default=64, help="pixels that two tiles share at least")
    command.add_argument("--tile-strength", type=fraction, default=0.2, help="how much of them is drawn anew")
    command.add_argument(
        "--tile-controlnet",
        type=file_and_strength,
        metavar="FILE[:STRENGTH]",
        help="a ControlNet Tile: keeps to the video, so that more can be drawn anew",
    )


def add_faces(command: argparse.ArgumentParser) -> None:
    """What finds faces, and which of them are meant."""
    command.add_argument("--detector", choices=DETECTORS, default="centerface", help="what finds the faces")
    command.add_argument("--detector-file", type=Path, help="its file: centerface.onnx, YuNet's; insightface's folder")
    command.add_argument(
        "--detector-size", type=positive, help="pixels of the longer side that it sees; more: small faces"
    )
    command.add_argument("--detector-threshold", type=fraction, help="what scores less is no face")
    command.add_argument("--words", default="", help='for the detector "words": what to look for, such as "cat head"')
    command.add_argument(
        "--grounding-dino", default="", help='for "words": a folder or a Hugging Face id of GroundingDINO'
    )
    command.add_argument(
        "--faces", choices=FACE_ORDERS, default=FACE_ORDERS[0], help="how those are counted that are there at once"
    )
    command.add_argument("--which", type=count, help="which of them, from 0; all if not given")
    command.add_argument(
        "--min-enlargement",
        type=not_negative,
        default=0.0,
        metavar="TIMES",
        help="leave faces alone that the square enlarges less than so many times; 0: draw all",
    )
    command.add_argument(
        "--reference",
        type=Path,
        action="append",
        default=[],
        help="a photo of the person meant, one for each prompt; needs the detector insightface",
    )


def add_models(command: argparse.ArgumentParser) -> None:
    """What draws, and the words beside the prompt."""
    command.add_argument("--checkpoint", type=Path, required=True, help="a Stable Diffusion 1.5 checkpoint, one file")
    command.add_argument(
        "--motion-module", type=Path, help="AnimateDiff v2 or v3; without it frames do not see each other"
    )
    command.add_argument(
        "--motion-lora",
        type=file_and_strength,
        action="append",
        default=[],
        metavar="FILE[:STRENGTH]",
        help="changes how the camera moves; can be given several times",
    )
    command.add_argument("--embeddings", type=Path, default=Path("embeddings"), help="folder of the ID tokens")
    command.add_argument("--negative", default="", help="what shall not be seen")
