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
from ..memory import is_out_of_memory
from .cli import OUT_OF_MEMORY, SomeFailed
from .clip_commands import check_clip_arguments, make_one
from .console import check_frames, loaded, motion_of, say
from .parser import build_parser
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
        ValueError: the file cannot be read as a run, or what all of it needs is not there.
    """
    clips, out = clips_of(arguments.jobs)
    first = clips[0].arguments
    for clip in clips:
        check_clip_arguments(clip.arguments)
    motion = motion_of(first)
    check_frames(motion, first.frames, "frames")
    records = [record_of(clip.arguments) for clip in clips]
    missing = [not is_made(clip.arguments.output, one) for clip, one in zip(clips, records, strict=True)]
    model = loaded(first.checkpoint) if any(missing) else None
    report = []
    for number, (clip, needed) in enumerate(zip(clips, missing, strict=True), 1):
        output = clip.arguments.output
        start, state = time.perf_counter(), {"state": "made" if needed else "was there"}
        say(f"{number} of {len(clips)}: {output.name}")
        try:
            if needed:
                make_one(clip.arguments, model, motion)
        except (ValueError, OSError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not is_out_of_memory(error):
                raise
            why = OUT_OF_MEMORY if is_out_of_memory(error) else " ".join(str(error).split())
            state = {"state": "failed", "error": why}
            say(f"{output.name} failed: {why}")
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
        raise ValueError(f"{file} is no YAML ({error}); texts that begin with {{}} or have a : want quotes") from error
    if not isinstance(content, Mapping):
        raise ValueError(f"{file} must be a table with the keys checkpoint, prompts, and whatever else shall be set")
    settings = {str(key).replace("-", "_"): value for key, value in content.items()}
    tokens = [check_token_name(str(name)) for name in _listed(file, settings, "tokens", [])]
    prompts = [str(prompt) for prompt in _listed(file, settings, "prompts")]
    seeds = _listed(file, settings, "seeds", [0])
    folder = settings.pop("out", None)
    folder = "clips" if folder is None else folder
    _check_plain(file, "out", folder)
    out = Path(str(folder))
    for prompt in prompts:
        if bool(tokens) != (SUBJECT in prompt):
            wrong = (
                f"has no {SUBJECT} where the tokens shall stand" if tokens else f"has {SUBJECT} but there are no tokens"
            )
            raise ValueError(f"{file}: the prompt {prompt!r} {wrong}")
    options = _options(file, settings)
    parser = build_parser()
    clips = []
    for token, (number, prompt), seed in product(tokens or [""], enumerate(prompts, 1), seeds):
        name = f"{token or 'clip'}_{number:02}_{seed}.mp4"
        words = ["t2v", *options, f"--seed={seed}", "--", prompt, str(out / name)]
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
    values = value if isinstance(value, list) else [value]
    if value is None or (not values and default != []):
        raise ValueError(f"{file}: the key {name} is missing or empty: add a list of {name}")
    for one in values:
        _check_plain(file, name, one)
    return values


def _options(file: Path, settings: Mapping) -> list[str]:
    """What is left of the keys, as options of the command line; a key without a value is as if it were not there."""
    options = []
    for name, value in settings.items():
        if name in ("seed", "prompt", "token"):
            raise ValueError(f"{file}: the key {name} is called {name}s here, and can be a list")
        if isinstance(value, list) and name != "motion_lora":
            raise ValueError(f"{file}: {name} takes one value for all clips, not a list")
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                _check_plain(file, name, one)
                options.append(f"--{name.replace('_', '-')}={one}")
    return options


def _check_plain(file: Path, name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"{file}: {name} must be a text or a number, not {value!r}: texts with a : want quotes")


def _write_report(out: Path, report: list[dict], planned: int) -> None:
    with unfinished_file(out / REPORT) as unfinished:
        unfinished.write_text(
            json.dumps({"planned": planned, "clips": report}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
