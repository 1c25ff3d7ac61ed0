"""The commands of `vcd` and their options."""

import argparse
from pathlib import Path

from .argument_values import (
    count,
    file_and_strength,
    fraction,
    frame_rate,
    not_negative,
    picture_size,
    positive,
    positive_float,
    seed,
)
from .shared_options import add_faces, add_models, add_piece, add_sampling, add_tiles, add_video, add_windows


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vcd",
        description="Videos of one particular person, animal or thing from 5-10 photos (Video Custom Diffusion).",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_tokens(commands)
    _add_convert(commands)
    _add_t2v(commands)
    _add_run(commands)
    _add_face(commands)
    _add_upscale(commands)
    _add_v2v(commands)
    _add_evaluate(commands)
    return parser


class _WithDefaults(argparse.ArgumentDefaultsHelpFormatter):
    """Tells defaults where there are any."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        none = action.default is None or action.default is False or action.default in ("", [])
        return action.help if none else super()._get_help_string(action)


def _command(commands, name: str, summary: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary,
        description=summary,
        formatter_class=_WithDefaults,
        allow_abbrev=False,  # a name that is not known is said, in a file of `run` too, whatever options come later
    )


def _add_train(commands) -> None:
    train = _command(commands, "train", "Learn an ID token from a folder of photos.")
    train.add_argument("photos", type=Path, help="folder of 5-10 photos; masks: NAME.mask.png, or transparency")
    train.add_argument("--name", required=True, help="name in prompts (embedding:NAME) and of the file")
    train.add_argument("--noun", required=True, help="what the subject is: woman, man, cat, teapot")
    train.add_argument("--checkpoint", type=Path, required=True, help="a Stable Diffusion 1.5 checkpoint, one file")
    train.add_argument("--out", type=Path, default=Path("embeddings"), help="folder for the token")
    train.add_argument("--steps", type=positive, default=200, help="training steps; 200 is the paper's")
    train.add_argument("--batch-size", type=positive, default=4, help="photos a step")
    train.add_argument("--learning-rate", type=positive_float, default=1e-3, help="lower it if training diverges")
    train.add_argument("--tokens", type=positive, default=4, help="vectors that stand for the subject")
    train.add_argument("--size", type=picture_size, default=512, help="photos are cropped and resized to this square")
    train.add_argument("--seed", type=seed, default=0, help="the same seed and photos give the same token")
    train.add_argument("--initial-words", default="", help="start from these words; empty: from the noun")
    train.add_argument("--no-augmentation", action="store_true", help="the photos as they are and mirrored")
    train.add_argument(
        "--early-stop",
        type=count,
        default=0,
        metavar="CHECKS",
        help="hold the last photo out, stop when it was fitted no better in so many checks; 0: take all steps",
    )
    train.add_argument("--weight-decay", type=not_negative, default=1e-2, help="pull towards the first norm")
    train.add_argument("--hold-norm", action="store_true", help="keep the first norm: places come through better")
    train.add_argument(
        "--context-weight",
        type=not_negative,
        default=0.0,
        help="teach the token to leave the surroundings to the prompt; 1 is good, a step takes half as long again",
    )
    train.add_argument(
        "--decay",
        type=float,
        default=0.0,
        help="the last part of the steps, up to 1, over which the learning rate falls to nothing; 0.6 is good",
    )
    train.add_argument(
        "--mask-margin",
        type=not_negative,
        default=0.0,
        help="how much masks grow, in parts of the cropped square's side: outlines are learned too; 0.125 is good",
    )
    train.add_argument("--noise-offset", type=not_negative, default=0.1, help="of each channel's mean, as released")
    train.add_argument("--linear-schedule", action="store_true", help="the released code's noise levels, to compare")
    train.add_argument("--precision", choices=("float32", "bfloat16", "float16"), default="float32", help="of the UNet")
    train.add_argument("--keep-activations", action="store_true", help="a third faster, and more memory")
    train.add_argument("--overwrite", action="store_true", help="replace a token of this name")


def _add_tokens(commands) -> None:
    tokens = _command(commands, "tokens", "List the ID tokens of a folder.")
    tokens.add_argument("folder", type=Path, nargs="?", default=Path("embeddings"), help="folder of ID tokens")
    tokens.add_argument("--sheet", type=Path, metavar="PNG", help="write a sheet with the picture of each")


def _add_convert(commands) -> None:
    convert = _command(commands, "convert", "Turn a token of another tool (A1111, diffusers, kohya) into ours.")
    convert.add_argument("file", type=Path, help=".pt, .bin or .safetensors; nothing in it is run")
    convert.add_argument("--name", default="", help="its new name; empty: the file's")
    convert.add_argument("--noun", default="", help="what the subject is, which other tools do not write down")
    convert.add_argument("--out", type=Path, default=Path("embeddings"), help="folder for the token")
    convert.add_argument("--overwrite", action="store_true", help="replace a token of this name")


def _add_t2v(commands) -> None:
    t2v = _command(commands, "t2v", "Make a clip from a prompt.")
    t2v.add_argument("prompt", help='such as "a photo of embedding:ava woman on a beach"')
    t2v.add_argument("output", type=Path, help="the .mp4 to write; one that is there is replaced")
    add_models(t2v)
    t2v.add_argument("--frames", type=positive, default=16, help="length of the clip")
    t2v.add_argument("--size", type=picture_size, default=512, help="height and width in pixels")
    add_sampling(t2v, "dpmpp_2m", "karras", "sampling steps")
    t2v.add_argument("--fps", type=frame_rate, default=8.0, help="frames a second")


def _add_run(commands) -> None:
    run = _command(commands, "run", "Make clips of tokens x prompts x seeds; those that are there are not made again.")
    run.add_argument(
        "jobs",
        type=Path,
        help="a YAML file with the lists tokens, prompts (with {} where a token shall stand) and seeds, the folder "
        "out, and options of t2v: checkpoint, motion-module, frames ...",
    )


def _add_face(commands) -> None:
    face = _command(commands, "face", "Draw the faces of a video anew: Face VCD. Its sound and times are kept.")
    add_video(face)
    face.add_argument(
        "--prompt",
        action="append",
        required=True,
        help='who it is: "a photo of embedding:ava woman, face"; given several times, each is for the next face',
    )
    add_models(face)
    add_faces(face)
    face.add_argument("--strength", type=fraction, default=0.5, help="how much is drawn anew; 0.8 is the released one")
    add_sampling(face, "euler", "normal")
    face.add_argument("--size", type=picture_size, default=512, help="a face is drawn in a square of so many pixels")
    face.add_argument("--margin", type=positive_float, default=2.0, help="that square's side over the face's")
    face.add_argument("--mask-margin", type=positive_float, default=1.4, help="what is drawn anew over the face's box")
    face.add_argument("--feather", type=fraction, default=0.4, help="part of it in which new fades into old")
    face.add_argument("--upright", action="store_true", help="turn leaning heads upright while they are drawn")
    add_windows(face)


def _add_upscale(commands) -> None:
    upscale = _command(
        commands, "upscale", "Enlarge a video and draw its detail anew: Tiled VCD. Its sound and times are kept."
    )
    add_video(upscale)
    upscale.add_argument("--prompt", required=True, help='what is to be seen: "a photo of embedding:ava woman, detail"')
    add_models(upscale)
    add_tiles(upscale, 2.0)
    add_sampling(upscale, "euler", "normal")
    add_windows(upscale)
    add_piece(upscale)


def _add_v2v(commands) -> None:
    v2v = _command(
        commands,
        "v2v",
        "Draw a video anew, then if asked for its faces, and enlarge it: its sound and times are kept.",
    )
    add_video(v2v)
    v2v.add_argument("--prompt", required=True, help='what is to be seen: "a photo of embedding:ava woman on a beach"')
    add_models(v2v)
    v2v.add_argument("--size", type=picture_size, default=512, help="the video is scaled to this shorter side first")
    v2v.add_argument("--strength", type=fraction, default=0.5, help="how much is drawn anew; 0 leaves it to the rest")
    add_sampling(v2v, "euler", "normal")
    v2v.add_argument(
        "--face-prompt", action="append", default=[], help="draw faces anew too; several: each is for the next face"
    )
    v2v.add_argument("--face-strength", type=fraction, default=0.5, help="how much of them is drawn anew")
    v2v.add_argument("--face-size", type=picture_size, default=512, help="they are drawn in a square of so many pixels")
    add_faces(v2v)
    add_tiles(v2v, 1.0)
    v2v.add_argument(
        "--controlnet",
        type=file_and_strength,
        action="append",
        default=[],
        metavar="FILE[:STRENGTH]",
        help="keeps to what its hint shows while the video is drawn anew; can be given several times",
    )
    v2v.add_argument(
        "--hint",
        type=Path,
        action="append",
        default=[],
        metavar="VIDEO",
        help="what each --controlnet sees, frame by frame: poses, depth or edges; the video itself if not given",
    )
    v2v.add_argument("--tile-prompt", default="", help="what tiles show, if not what --prompt says")
    add_windows(v2v)
    add_piece(v2v)


def _add_evaluate(commands) -> None:
    evaluate = _command(
        commands,
        "evaluate",
        "Measure clips: likeness to photos and to a prompt, smoothness, motion, flicker, what leaks from the photos.",
    )
    evaluate.add_argument(
        "clips",
        type=Path,
        nargs="+",
        metavar="clip",
        help="video files; CLIP.mask.mp4 beside CLIP.mp4 shows its subject white, for what leaks from backgrounds",
    )
    evaluate.add_argument("--reference", type=Path, help="folder of photos of the subject, with masks if there are any")
    evaluate.add_argument("--prompt", default="", help="what the clips should show; embedding:NAME is left out")
    evaluate.add_argument(
        "--clip", default="openai/clip-vit-base-patch32", help="a folder or a Hugging Face id of a CLIP, or none"
    )
    evaluate.add_argument(
        "--dino", default="facebook/dino-vits16", help="a folder or a Hugging Face id of a DINO or DINOv2, or none"
    )
    evaluate.add_argument("--insightface", type=Path, help="insightface's model pack, for the likeness of faces")
    evaluate.add_argument("--unrelated", type=Path, help="folder of pictures of other places, to tell leaks by")
    evaluate.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
