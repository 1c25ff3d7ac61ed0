"""The world that a plan's file names: the demo's, or a checkpoint with folders of photos."""

import importlib
import math
from collections.abc import Callable
from pathlib import Path

from vcd_core.standalone.pipeline import ClipOptions

from .folders import BASE, NONE, FolderWorld, Networks, subjects_in
from .plan import Source, text_in
from .world import World

PACKAGED = {"demo": "demo.benchmark"}
"""Modules with an `open_world(clip, steps)`, found by name: packages beside this one do not import each other."""
CLIP_OPTIONS = {"frames": int, "steps": int, "cfg": float, "size": int}
REAL_ONLY = ("checkpoint", "motion_module", "photos", "nouns", "styles", "clip_scores", "dino_scores", "face_scores")


def open_world(source: Source) -> World:
    """Raises ValueError with the line of what is wrong, and what is allowed."""
    content = source.content
    options = _clip_options(source)
    steps = content.get("steps")
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or steps < 1):
        raise source.wrong(("steps",), f"steps of learning must be a number, 1 or more, not {steps!r}")
    if "world" in content:
        if content["world"] not in tuple(PACKAGED):
            raise source.wrong(
                ("world",), f"world must be one of {', '.join(PACKAGED)}, or leave it out and give a checkpoint"
            )
        if given := [key for key in REAL_ONLY if key in content]:
            raise source.wrong(
                (given[0],), f"the world {content['world']} takes no {given[0]}: take out one of the two"
            )
        module = importlib.import_module(PACKAGED[content["world"]])
        return _explained(source, "clip", lambda: module.open_world(options, steps))
    for key in ("checkpoint", "photos"):
        if not isinstance(content.get(key), str):
            raise source.wrong((key,), f"without world: demo the key {key} is needed, a path")
    for key in ("motion_module", "clip_scores", "dino_scores", "face_scores"):
        if key in content:
            text_in(source, (key,), content[key])
    styles, nouns = content.get("styles", {}), content.get("nouns", "")
    if not isinstance(styles, dict):
        raise source.wrong(("styles",), "styles must be a table of name: checkpoint")
    for name, file in styles.items():
        text_in(source, ("styles", name), file)
        if name == BASE:
            raise source.wrong(("styles", name), f"{BASE} is the checkpoint itself: give this style another name")
    if not isinstance(nouns, (str, dict)):
        raise source.wrong(("nouns",), "nouns must be a word, or a table of subject: word")
    motion, face = content.get("motion_module"), content.get("face_scores")
    networks = Networks(
        content.get("clip_scores", Networks.clip),
        content.get("dino_scores", Networks.dino),
        None if face in (None, NONE) else Path(face),
    )
    subjects = _explained(source, "photos", lambda: subjects_in(Path(content["photos"]), nouns))
    checkpoints = {BASE: Path(content["checkpoint"]), **{str(name): Path(file) for name, file in styles.items()}}
    motion = None if motion is None else Path(motion)
    files = {("checkpoint",) if name == BASE else ("styles", name): file for name, file in checkpoints.items()}
    if motion is not None:
        files["motion_module",] = motion
    for place, file in files.items():
        if not file.is_file():
            raise source.wrong(place, f"there is no file {file}: check the name")
    made = _explained(source, "clip", lambda: ClipOptions(**options))
    return FolderWorld(subjects, checkpoints, motion, made, steps or 200, networks)


def _clip_options(source: Source) -> dict[str, float]:
    asked = source.content.get("clip", {})
    if not isinstance(asked, dict):
        raise source.wrong(("clip",), f"clip must be a table of {', '.join(CLIP_OPTIONS)}")
    for name, value in asked.items():
        if name not in CLIP_OPTIONS:
            raise source.wrong(("clip", name), f"a clip has no {name!r}; it has {', '.join(CLIP_OPTIONS)}")
        number = isinstance(value, (int, CLIP_OPTIONS[name])) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or value <= 0:
            raise source.wrong(("clip", name), f"{name} must be a number above 0, not {value!r}")
    return dict(asked)


def _explained(source: Source, key: str, make: Callable):
    try:
        return make()
    except ValueError as error:
        raise source.wrong((key,), str(error)) from error
