"""`vcd run`: clips of tokens x prompts x seeds from a YAML file; what was made is not made again."""

import argparse
import io
import json
import time
from collections.abc import Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from ..files import unfinished_file
from ..identity import check_token_name
from .cli import SomeFailed, build_parser
from .clip_commands import check_clip_arguments, make_one
from .console import check_files, check_frames, loaded, motion_of, say
from .prompts import prompt_of_token
from .record import is_made, record_of

SUBJECT = "{}"
REPORT = "report.json"


@dataclass(frozen=True)
class Clip:
    """One clip of a run: what stands for the subject, and the arguments of `vcd t2v` that make it."""

    token: str
    arguments: argparse.Namespace


def run(arguments: argparse.Namespace) -> None:
    """Makes the clips one after another with one model in memory; one that cannot be made does not stop the others.

    Raises:
        SomeFailed: how many could not be made; OUT/report.json says why.
        ValueError: the file cannot be read as a run, or nothing of it could be made.
    """
    clips, out = clips_of(arguments.jobs)
    first = clips[0].arguments
    for clip in clips:
        check_clip_arguments(clip.arguments)
    check_files(first.checkpoint, first.motion_module)
    motion = motion_of(first)
    check_frames(motion, first.frames, "frames")
    model, report = None, []
    for number, clip in enumerate(clips, 1):
        output = clip.arguments.output
        start, state = time.perf_counter(), {"state": "made"}
        say(f"{number} of {len(clips)}: {output.name}")
        try:
            if is_made(output, record_of(clip.arguments)):
                state = {"state": "was there"}
            else:
                if model is None:
                    model = loaded(first.checkpoint)
                make_one(clip.arguments, model, motion)
        except (ValueError, OSError) as error:
            state = {"state": "failed", "error": " ".join(str(error).split())}
            say(f"{output.name} failed: {state['error']}")
        report.append(
            {
                "file": output.name,
                "token": clip.token,
                "prompt": clip.arguments.prompt,
                "seed": clip.arguments.seed,
                **state,
                "seconds": round(time.perf_counter() - start, 1),
            }
        )
        _write_report(out, report, len(clips))
    failed = sum(one["state"] == "failed" for one in report)
    say(f"{out / REPORT}: {len(clips) - failed} of {len(clips)} clips are there")
    if failed:
        raise SomeFailed(f"{failed} of {len(clips)} clips could not be made: {out / REPORT} says why")


def clips_of(file: Path) -> tuple[list[Clip], Path]:
    """The clips of a YAML file, and the folder they go to.

    Raises:
        ValueError: no such file; it is no YAML; a key that is not known, or one missing; what to write instead.
    """
    import yaml

    if not file.is_file():
        raise ValueError(f"there is no file {file}: check the name")
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is no YAML: {error}") from error
    if not isinstance(content, Mapping):
        raise ValueError(f"{file} must be a table with the keys checkpoint, prompts, and whatever else shall be set")
    settings = {str(key).replace("-", "_"): value for key, value in content.items()}
    tokens = [check_token_name(str(name)) for name in _listed(file, settings, "tokens", [])]
    prompts = [str(prompt) for prompt in _listed(file, settings, "prompts")]
    seeds = _listed(file, settings, "seeds", [0])
    out = Path(str(settings.pop("out", "clips")))
    for prompt in prompts:
        if tokens and SUBJECT not in prompt:
            raise ValueError(f"{file}: the prompt {prompt!r} has no {SUBJECT} where the tokens shall stand")
    options = [f"--{name.replace('_', '-')}={value}" for name, value in _flat(settings)]
    parser = build_parser()
    clips = []
    for token, (number, prompt), seed in product(tokens or [""], enumerate(prompts, 1), seeds):
        name = f"{token or 'clip'}_{number:02}_{seed}.mp4"
        words = ["t2v", prompt, str(out / name), *options, f"--seed={seed}"]
        said = io.StringIO()
        try:
            with redirect_stderr(said):
                arguments = parser.parse_args(words)
        except SystemExit as error:
            why = said.getvalue().strip().splitlines()[-1].partition("error: ")[2]
            raise ValueError(f"{file}: {why} (its keys are tokens, prompts, seeds, out, and options of t2v)") from error
        if token:
            arguments.prompt = prompt.replace(SUBJECT, prompt_of_token(token, arguments.embeddings))
        clips.append(Clip(token, arguments))
    return clips, out


def _listed(file: Path, settings: dict, name: str, default: list | None = None) -> list:
    """The list under a name, or the one thing that is there instead of a list."""
    value = settings.pop(name, default)
    if value is None or value == [] != default:
        raise ValueError(f"{file}: the key {name} is missing or empty: add a list of {name}")
    return value if isinstance(value, list) else [value]


def _flat(settings: Mapping) -> list[tuple[str, object]]:
    """Names and values; a list gives its name several times."""
    return [(name, one) for name, value in settings.items() for one in (value if isinstance(value, list) else [value])]


def _write_report(out: Path, report: list[dict], planned: int) -> None:
    with unfinished_file(out / REPORT) as unfinished:
        unfinished.write_text(
            json.dumps({"planned": planned, "clips": report}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
