"""The command line: `vcd`, or `python -m vcd_core`.

Exit codes: 0 done, 1 some of several clips could not be made or evaluated, 2 something the user can put right (one line
on stderr), 130 stopped with Ctrl-C.
"""

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..memory import is_out_of_memory

OK, SOME_FAILED, USER_ERROR, STOPPED = 0, 1, 2, 130
OUT_OF_MEMORY = "the memory is full: close what else uses it, or lower the size, the frames or window, or the tile"

# Top-level modules that `pip install '.[standalone]'` brings.
STANDALONE_MODULES = {
    "accelerate",
    "av",
    "cv2",
    "diffusers",
    "matplotlib",
    "PIL",
    "psutil",
    "scipy",
    "torch",
    "torchvision",
    "tqdm",
    "transformers",
    "yaml",
}
SAMPLERS = ("dpmpp_2m", "ddim", "euler", "euler_ancestral")
SCHEDULERS = ("karras", "normal")
DETECTORS = ("centerface", "yunet", "insightface", "words")
FACE_ORDERS = ("largest first", "left to right", "top to bottom", "nearest the middle")


class SomeFailed(Exception):
    """Some of several clips could not be made or evaluated."""


class MissingPackage(Exception):
    """An optional package is not installed."""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    goes_on = arguments.command in ("train", "run")
    stopped = "it goes on when it is called again" if goes_on else "it begins anew when it is called again"
    return exit_code("vcd", lambda: run(arguments), stopped)


def exit_code(
    program: str, work: Callable[[], None], stopped: str = "what was done goes on when it is called again"
) -> int:
    """Does the work; what the user can put right becomes one line on stderr that begins with the program's name.

    Args:
        stopped: what becomes of the work when it is called again after Ctrl-C.
    """
    # While they wait, torch's threads spin by default for milliseconds, which beside other work on the same cores can
    # take many times as long; not spinning at all takes twice as long on cores of one's own. Read when torch is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        with explained_imports():
            work()
    except KeyboardInterrupt:
        sys.stderr.write(f"\nstopped: nothing was left half-written; {stopped}\n")
        return STOPPED
    except SomeFailed as error:
        sys.stderr.write(f"{program}: {error}\n")
        return SOME_FAILED
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        sys.stderr.write(f"{program}: {OUT_OF_MEMORY}\n")
        return USER_ERROR
    except (ValueError, OSError, MissingPackage, ImportError) as error:
        if isinstance(error, ModuleNotFoundError):  # not one that somebody has explained
            raise
        lines = (" ".join(line.split()) for line in str(error).splitlines())
        sys.stderr.write(f"{program}: {'; '.join(line for line in lines if line)}\n")
        return USER_ERROR
    return OK


def run(arguments: argparse.Namespace) -> None:
    from . import commands

    getattr(commands, arguments.command)(arguments)


@contextmanager
def explained_imports() -> Iterator[None]:
    """Turns the absence of an optional package into what to install; any other missing module is a bug and stays one.

    Raises:
        MissingPackage: one of STANDALONE_MODULES is not there.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in STANDALONE_MODULES:
            raise
        raise MissingPackage(
            f"the package {package} is not installed: pip install '.[standalone]' in a clone of ComfyUI-VCD"
        ) from error


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
    train.add_argument("--steps", type=_positive, default=200, help="training steps; 200 is the paper's")
    train.add_argument("--batch-size", type=_positive, default=4, help="photos a step")
    train.add_argument("--learning-rate", type=_positive_float, default=1e-3, help="lower it if training diverges")
    train.add_argument("--tokens", type=_positive, default=4, help="vectors that stand for the subject")
    train.add_argument("--size", type=_picture_size, default=512, help="photos are cropped and resized to this square")
    train.add_argument("--seed", type=seed, default=0, help="the same seed and photos give the same token")
    train.add_argument("--initial-words", default="", help="start from these words; empty: from the noun")
    train.add_argument("--no-augmentation", action="store_true", help="the photos as they are and mirrored")
    train.add_argument(
        "--early-stop",
        type=_count,
        default=0,
        metavar="CHECKS",
        help="hold the last photo out, stop when it was fitted no better in so many checks; 0: take all steps",
    )
    train.add_argument("--weight-decay", type=_not_negative, default=1e-2, help="pull towards the first norm")
    train.add_argument("--hold-norm", action="store_true", help="keep the first norm: places come through better")
    train.add_argument(
        "--context-weight",
        type=_not_negative,
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
        type=_not_negative,
        default=0.0,
        help="how much masks grow, in parts of a photo's side, so that outlines are learned too; 0.125 is good",
    )
    train.add_argument("--noise-offset", type=_not_negative, default=0.1, help="of each channel's mean, as released")
    train.add_argument("--linear-schedule", action="store_true", help="the released code's noise levels, to compare")
    train.add_argument("--precision", choices=("float32", "bfloat16", "float16"), default="float32", help="of the UNet")
    train.add_argument("--keep-activations", action="store_true", help="a third faster, several times the memory")
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
    _add_models(t2v)
    t2v.add_argument("--frames", type=_positive, default=16, help="length of the clip")
    t2v.add_argument("--size", type=_picture_size, default=512, help="height and width in pixels")
    _add_sampling(t2v, "dpmpp_2m", "karras", "sampling steps")
    t2v.add_argument("--fps", type=_frame_rate, default=8.0, help="frames a second")


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
    _add_video(face)
    face.add_argument(
        "--prompt",
        action="append",
        required=True,
        help='who it is: "a photo of embedding:ava woman, face"; given several times, each is for the next face',
    )
    _add_models(face)
    _add_faces(face)
    face.add_argument("--strength", type=fraction, default=0.5, help="how much is drawn anew; 0.8 is the released one")
    _add_sampling(face, "euler", "normal")
    face.add_argument("--size", type=_picture_size, default=512, help="a face is drawn in a square of so many pixels")
    face.add_argument("--margin", type=_positive_float, default=2.0, help="that square's side over the face's")
    face.add_argument("--mask-margin", type=_positive_float, default=1.4, help="what is drawn anew over the face's box")
    face.add_argument("--feather", type=fraction, default=0.4, help="part of it in which new fades into old")
    face.add_argument("--upright", action="store_true", help="turn leaning heads upright while they are drawn")
    _add_windows(face)


def _add_upscale(commands) -> None:
    upscale = _command(
        commands, "upscale", "Enlarge a video and draw its detail anew: Tiled VCD. Its sound and times are kept."
    )
    _add_video(upscale)
    upscale.add_argument("--prompt", required=True, help='what is to be seen: "a photo of embedding:ava woman, detail"')
    _add_models(upscale)
    _add_tiles(upscale, 2.0)
    _add_sampling(upscale, "euler", "normal")
    _add_windows(upscale)
    _add_piece(upscale)


def _add_v2v(commands) -> None:
    v2v = _command(
        commands,
        "v2v",
        "Draw a video anew, then if asked for its faces, and enlarge it: its sound and times are kept.",
    )
    _add_video(v2v)
    v2v.add_argument("--prompt", required=True, help='what is to be seen: "a photo of embedding:ava woman on a beach"')
    _add_models(v2v)
    v2v.add_argument("--size", type=_picture_size, default=512, help="the video is scaled to this shorter side first")
    v2v.add_argument("--strength", type=fraction, default=0.5, help="how much is drawn anew; 0 leaves it to the rest")
    _add_sampling(v2v, "euler", "normal")
    v2v.add_argument(
        "--face-prompt", action="append", default=[], help="draw faces anew too; several: each is for the next face"
    )
    v2v.add_argument("--face-strength", type=fraction, default=0.5, help="how much of them is drawn anew")
    v2v.add_argument(
        "--face-size", type=_picture_size, default=512, help="they are drawn in a square of so many pixels"
    )
    _add_faces(v2v)
    _add_tiles(v2v, 1.0)
    v2v.add_argument(
        "--controlnet",
        type=_file_and_strength,
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
    _add_windows(v2v)
    _add_piece(v2v)


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


def _add_video(command: argparse.ArgumentParser) -> None:
    command.add_argument("video", type=Path, help="any video file; it is read twice and never held whole")
    command.add_argument("output", type=Path, help="the .mp4, .mkv or .mov to write; one that is there is replaced")


def _add_sampling(
    command: argparse.ArgumentParser, sampler: str, scheduler: str, steps: str = "sampling steps; all are taken"
) -> None:
    command.add_argument("--steps", type=_positive, default=20, help=steps)
    command.add_argument("--cfg", type=_positive_float, default=8.0, help="how strongly the prompt acts; 1 is fastest")
    command.add_argument("--sampler", choices=SAMPLERS, default=sampler, help="how the noise is taken away")
    command.add_argument("--scheduler", choices=SCHEDULERS, default=scheduler, help="in what steps")
    command.add_argument("--gamma", type=fraction, default=0.1, help="likeness of neighbouring frames' noise, 0 to 1")
    command.add_argument("--seed", type=seed, default=0, help="the same seed gives the same clip")


def _add_windows(command: argparse.ArgumentParser) -> None:
    command.add_argument("--window", type=_positive, default=16, help="frames drawn together")
    command.add_argument("--overlap", type=_count, default=4, help="frames that two windows share at least")


def _add_piece(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--piece",
        type=_positive,
        default=48,
        help="frames held in memory; all windows in them agree at every step",
    )


def _add_tiles(command: argparse.ArgumentParser, upscale_by: float) -> None:
    command.add_argument(
        "--upscale-by", type=_at_least_one, default=upscale_by, help="how much larger the picture becomes"
    )
    command.add_argument("--tile", type=_picture_size, default=512, help="height and width of a tile in pixels")
    command.add_argument("--tile-overlap", type=_count, default=64, help="pixels that two tiles share at least")
    command.add_argument("--tile-strength", type=fraction, default=0.2, help="how much of them is drawn anew")
    command.add_argument(
        "--tile-controlnet",
        type=_file_and_strength,
        metavar="FILE[:STRENGTH]",
        help="a ControlNet Tile: keeps to the video, so that more can be drawn anew",
    )


def _add_faces(command: argparse.ArgumentParser) -> None:
    """What finds faces, and which of them are meant."""
    command.add_argument("--detector", choices=DETECTORS, default="centerface", help="what finds the faces")
    command.add_argument("--detector-file", type=Path, help="its file: centerface.onnx, YuNet's; insightface's folder")
    command.add_argument(
        "--detector-size", type=_positive, help="pixels of the longer side that it sees; more: small faces"
    )
    command.add_argument("--detector-threshold", type=fraction, help="what scores less is no face")
    command.add_argument("--words", default="", help='for the detector "words": what to look for, such as "cat head"')
    command.add_argument(
        "--grounding-dino", default="", help='for "words": a folder or a Hugging Face id of GroundingDINO'
    )
    command.add_argument(
        "--faces", choices=FACE_ORDERS, default=FACE_ORDERS[0], help="how those are counted that are there at once"
    )
    command.add_argument("--which", type=_count, help="which of them, from 0; all if not given")
    command.add_argument(
        "--reference",
        type=Path,
        action="append",
        default=[],
        help="a photo of the person meant, one for each prompt; needs the detector insightface",
    )


def _add_models(command: argparse.ArgumentParser) -> None:
    """What draws, and the words beside the prompt."""
    command.add_argument("--checkpoint", type=Path, required=True, help="a Stable Diffusion 1.5 checkpoint, one file")
    command.add_argument(
        "--motion-module", type=Path, help="AnimateDiff v2 or v3; without it frames do not see each other"
    )
    command.add_argument(
        "--motion-lora",
        type=_file_and_strength,
        action="append",
        default=[],
        metavar="FILE[:STRENGTH]",
        help="changes how the camera moves; can be given several times",
    )
    command.add_argument("--embeddings", type=Path, default=Path("embeddings"), help="folder of the ID tokens")
    command.add_argument("--negative", default="", help="what shall not be seen")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a whole number, 1 or more, not {text!r}")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number, 0 or more, not {text!r}")
    return int(text)


def _not_negative(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number, 0 or more, not {text!r}")
    return value


def _positive_float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")
    return value


def _at_least_one(text: str) -> float:
    value = _positive_float(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a number, 1 or more, not {text!r}")
    return value


def _frame_rate(text: str) -> float:
    value = _positive_float(text)
    if value < 0.001:
        raise argparse.ArgumentTypeError(f"must be a number, 0.001 or more, not {text!r}")
    return value


def fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, not {text!r}")
    return value


def seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**64:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 2^64 - 1, not {text!r}")
    return int(text)


def _picture_size(text: str) -> int:
    if not text.isdecimal() or int(text) < 64 or int(text) % 8:
        raise argparse.ArgumentTypeError(f"must be a multiple of 8, 64 or more, not {text!r}")
    return int(text)


def _file_and_strength(text: str) -> tuple[Path, float]:
    file, _, number = text.rpartition(":")
    try:
        strength = float(number)
    except ValueError:
        return Path(text), 1.0
    if not math.isfinite(strength):
        raise argparse.ArgumentTypeError(f"the strength of {file} must be a number, not {number!r}")
    return Path(file), strength
