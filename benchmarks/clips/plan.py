"""Which clips are wanted: rows x subjects x prompts x seeds, from a YAML file."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from benchmarks.baselines import METHODS

from .world import STAGES, World

SUBJECT = "{}"
DEFAULT_GAMMA = 0.1
Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        method: a name in `METHODS`, or what made the clips in `videos`.
        ablation: what differs from the method as it is; "" for nothing.
        settings: of the method, besides their defaults.
        recipe: what of our own recipe differs from the world's.
        steps: of learning; None for the world's.
        masks, captions: whether photos come with theirs.
        videos: a folder of clips that are there, SUBJECT_PROMPT_SEED.mp4 with the prompt's number from 1; None to make
            them.
        subjects, prompts, seeds: what is drawn; prompts keep their numbers in the whole list.
        published: somebody's figures of the same, to stand beside.
    """

    method: str
    ablation: str
    settings: Mapping[str, float]
    recipe: Mapping[str, float]
    steps: int | None
    masks: bool
    captions: bool
    gamma: float
    stage: str
    style: str
    videos: Path | None
    subjects: Sequence[str]
    prompts: Sequence[str]
    seeds: Sequence[int]
    published: str = ""

    @property
    def name(self) -> str:
        return f"{self.method}, {self.ablation}" if self.ablation else self.method


@dataclass(frozen=True)
class Claim:
    """An ordering that somebody published.

    Attributes:
        more, less: names of rows.
        score: of which the first is said to have more.
        published: their figures.
    """

    more: str
    less: str
    score: str
    published: str


@dataclass(frozen=True)
class Plan:
    """What a file asks for.

    Attributes:
        out: folder of the results.
        keep: whether clips are kept as videos.
        class_pictures: how many a method with prior preservation looks at.
        sheets: of how many prompts, the first ones, contact sheets are made.
        sheet_subjects: how many subjects, the first ones, they show.
        rows: the first is what the others are compared to.
        claims: what the report is to tell of besides.
    """

    out: Path
    keep: bool
    class_pictures: int
    sheets: int
    sheet_subjects: int
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True)
class Source:
    """A YAML file's content, and where in it each value stands.

    Attributes:
        lines: from the path of a key or an element to its line, from 1.
    """

    file: Path
    content: dict
    lines: Mapping[Place, int] = field(default_factory=dict)

    def wrong(self, place: Place, what: str) -> ValueError:
        line = next(self.lines[place[:end]] for end in range(len(place), -1, -1) if place[:end] in self.lines)
        return ValueError(f"{self.file}, line {line}: {what}")


WORLD_KEYS = {
    "world": "demo, or a checkpoint instead",
    "checkpoint": "a file",
    "motion_module": "a file",
    "styles": "name: checkpoint, for rows drawn by another than they are learned on",
    "photos": "a folder of folders of photos",
    "nouns": "one for all subjects, or subject: noun",
    "clip": "frames, steps, cfg, size: numbers",
    "clip_scores": "CLIP's folder or Hugging Face id, or none",
    "dino_scores": "DINO's folder or Hugging Face id, or none",
    "face_scores": "the folder of insightface's models",
    "steps": "of learning",
}
PLAN_KEYS = {
    "out": "a folder",
    "keep": "true or false",
    "class_pictures": "a number",
    "sheets": "a number of prompts",
    "sheet_subjects": "a number of the plan's",
    "subjects": "a number or a list of names",
    "prompts": "a number or a list of texts with {}",
    "seeds": "a number or a list of numbers",
    "rows": "a list of rows",
    "claims": "a list of published orderings",
}
LONGEST_NAME = 100
HOW_MADE = ("settings", "recipe", "steps", "masks", "captions", "gamma", "stage", "style")
WEIGHT = "prior_weight"  # the setting that may be 0
OURS = "vcd"  # the method that learns by the world's recipe
CONTEXT, MARGIN = "context_weight", "mask_margin"
RECIPE = {CONTEXT: math.inf, MARGIN: 0.5, "decay": 1.0, "hold_norm": True}
"""What a row may change of it, and the most that it may be."""
CLAIM_KEYS = {
    "more": "a row's name",
    "less": "another's",
    "score": "one of the world's",
    "published": "a text, the figures",
}
ROW_KEYS = {
    "method": f"one of {', '.join(METHODS)}",
    "name": "a text for the table",
    "settings": "of the method, such as rate: 1e-4",
    "recipe": f"of {OURS}, such as context_weight: 0",
    "steps": "of learning, instead of the world's",
    "masks": "true or false",
    "captions": "true or false",
    "gamma": "a number from 0 to 1",
    "stage": f"one of {', '.join(STAGES)}",
    "style": "one of the world's",
    "videos": "a folder of clips that are there",
    "subjects": "a number of the plan's",
    "prompts": "a number of the plan's",
    "seeds": "a number of the plan's",
    "published": "a text, somebody's figures",
}


def read_source(file: Path) -> Source:
    """A YAML file with known keys at its top; raises ValueError with the line of what is wrong, and what is allowed."""
    import yaml

    if not file.is_file():
        raise ValueError(f"there is no file {file}: check the name")
    try:
        text = file.read_text(encoding="utf-8")
        content, node = yaml.safe_load(text), yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{file} is no YAML ({' '.join(str(error).split())}); texts that begin with {{}} or have a : want quotes"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} must be a table with the keys {', '.join(PLAN_KEYS)}")
    try:
        source = Source(file, content, _lines(node))
    except RecursionError as error:
        raise ValueError(f"{file} has a part that is within itself: write it out") from error
    except DoubleKey as error:
        raise ValueError(f"{file}, {error}") from error
    _check_keys(source, (), content, WORLD_KEYS | PLAN_KEYS)
    return source


def plan_of(source: Source, world: World) -> Plan:
    """The clips that a file asks of a world; raises ValueError with the line of what is wrong, and what is allowed."""
    content = source.content
    subjects = _some(source, ("subjects",), content.get("subjects", len(world.subjects)), world.subjects)
    prompts = _prompts(source, world)
    seeds = _seeds(source, content.get("seeds", 1))
    rows = content.get("rows")
    if not isinstance(rows, list) or not rows:
        raise source.wrong(("rows",), "rows must be a list of at least one row, such as - method: vcd")
    planned = tuple(
        _row(source, ("rows", number), row, world, (subjects, prompts, seeds)) for number, row in enumerate(rows)
    )
    names = [row.name for row in planned]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise source.wrong(("rows", number), f"a second row is called {name}: give it a name of its own")
    out = Path(text_in(source, ("out",), content.get("out", "out/identity")))
    if out.exists() and not out.is_dir():
        raise source.wrong(("out",), f"{out} is a file: give a folder, which is made if it is not there")
    return Plan(
        out,
        _typed(source, ("keep",), content.get("keep", False), bool),
        _counted(source, ("class_pictures",), content.get("class_pictures", 200), 1, 10000),
        _counted(source, ("sheets",), content.get("sheets", min(5, len(prompts))), 0, len(prompts)),
        _counted(source, ("sheet_subjects",), content.get("sheet_subjects", len(subjects)), 1, len(subjects)),
        planned,
        _claims(source, names, world),
    )


def _claims(source: Source, rows: Sequence[str], world: World) -> tuple[Claim, ...]:
    claims = source.content.get("claims", [])
    if not isinstance(claims, list):
        raise source.wrong(("claims",), "claims must be a list of published orderings")
    found = []
    for number, claim in enumerate(claims):
        place = ("claims", number)
        if not isinstance(claim, dict) or claim.keys() != CLAIM_KEYS.keys():
            raise source.wrong(place, f"a claim is a table with the keys {', '.join(CLAIM_KEYS)}, not {claim!r}")
        more, less = (_one_of(source, (*place, key), claim[key], rows) for key in ("more", "less"))
        if more == less:
            raise source.wrong(place, f"more and less are both {more}: name two rows")
        score = _one_of(source, (*place, "score"), claim["score"], tuple(world.scores))
        found.append(Claim(more, less, score, str(claim["published"])))
    return tuple(found)


def _row(source: Source, place: Place, row: object, world: World, whole: tuple[Sequence, Sequence, Sequence]) -> Row:
    if not isinstance(row, dict):
        raise source.wrong(place, f"a row is a table with the keys {', '.join(ROW_KEYS)}, not {row!r}")
    _check_keys(source, place, row, ROW_KEYS)
    videos = row.get("videos")
    for key in ("method", "name", "videos", "published"):
        if key in row:
            text_in(source, (*place, key), row[key])
    method = row.get("method", row.get("name", ""))
    if videos is None and method not in METHODS:
        raise source.wrong((*place, "method"), f"there is no method {method!r}; there are {', '.join(METHODS)}")
    if not method:
        raise source.wrong(place, "a row of videos needs a name")
    if videos is not None and (given := [key for key in HOW_MADE if key in row]):
        raise source.wrong((*place, given[0]), f"a row of videos takes no {given[0]}: they are made already")
    if videos is not None and not Path(videos).is_dir():
        raise source.wrong((*place, "videos"), f"there is no folder {videos}")
    settings = _settings(source, (*place, "settings"), row.get("settings", {}), method)
    recipe = _recipe(source, (*place, "recipe"), row.get("recipe", {}), method)
    steps = row.get("steps")
    if steps is not None:
        _counted(source, (*place, "steps"), steps, 1, 10**6, "steps of learning")
    masks = _typed(source, (*place, "masks"), row.get("masks", True), bool)
    if not masks and (recipe.get(CONTEXT, 0) > 0 or MARGIN in recipe):
        raise source.wrong((*place, "recipe"), f"without masks there is no {CONTEXT} and no {MARGIN}: take them out")
    captions = _typed(source, (*place, "captions"), row.get("captions", False), bool)
    gamma = row.get("gamma", DEFAULT_GAMMA)
    if isinstance(gamma, bool) or not isinstance(gamma, (int, float)) or not 0 <= gamma <= 1:
        raise source.wrong((*place, "gamma"), f"gamma must be a number from 0 to 1, not {gamma!r}")
    stage = _one_of(source, (*place, "stage"), row.get("stage", STAGES[0]), STAGES)
    style = _one_of(source, (*place, "style"), row.get("style", world.styles[0]), world.styles)
    differs = {
        f"gamma {gamma:g}": gamma != DEFAULT_GAMMA,
        "no masks": not masks,
        "captions": captions,
        f"+ {stage}": stage != STAGES[0],
        f"style {style}": style != world.styles[0],
        ", ".join(f"{name} {value:g}" for name, value in (settings | recipe).items()): bool(settings or recipe),
        f"{steps} step{'' if steps == 1 else 's'}": steps is not None,
    }
    ablation = row["name"] if "name" in row and "method" in row else ", ".join(s for s, yes in differs.items() if yes)
    chosen = [
        all_there[: _counted(source, (*place, key), row.get(key, len(all_there)), 1, len(all_there))]
        for key, all_there in zip(("subjects", "prompts", "seeds"), whole, strict=True)
    ]
    made = Row(
        method,
        ablation,
        settings,
        recipe,
        steps,
        masks,
        captions,
        float(gamma),
        stage,
        style,
        None if videos is None else Path(videos),
        *chosen,
        row.get("published", ""),
    )
    if len(made.name) > LONGEST_NAME:
        raise source.wrong((*place, "name"), f"a row's name is a folder's, too: give it {LONGEST_NAME} letters at most")
    return made


def _settings(source: Source, place: Place, settings: object, method: str) -> Mapping[str, float]:
    if not isinstance(settings, dict):
        raise source.wrong(place, "settings is a table, such as {rate: 1e-4}")
    known = {one.name for one in fields(METHODS[method])} if method in METHODS else set()
    found = {}
    for name, value in settings.items():
        if name not in known:
            raise source.wrong(
                (*place, name), f"{method} has no setting {name!r}; it has {', '.join(sorted(known)) or 'none'}"
            )
        kind = type(getattr(METHODS[method](), name))
        number = _number(value)
        above_0 = "a whole number, 1 or more" if kind is int else "a number above 0"
        must_be = "a number, 0 or more" if name == WEIGHT else above_0
        if number is None or number < 0 or kind(number) != number or (number == 0 and name != WEIGHT):
            raise source.wrong((*place, name), f"{name} must be {must_be}, not {value!r}")
        found[name] = kind(number)
    return found


def _recipe(source: Source, place: Place, recipe: object, method: str) -> Mapping[str, float]:
    if not isinstance(recipe, dict):
        raise source.wrong(place, "recipe is a table, such as {context_weight: 0}")
    if recipe and method != OURS:
        raise source.wrong(place, f"the recipe is of {OURS} alone: take it out, or see whether {method} has a setting")
    found = {}
    for name, value in recipe.items():
        if name not in RECIPE:
            raise source.wrong((*place, name), f"the recipe has no {name!r}; a row may change {', '.join(RECIPE)}")
        if RECIPE[name] is True:
            found[name] = _typed(source, (*place, name), value, bool)
            continue
        number = _number(value)
        if number is None or not 0 <= number <= RECIPE[name]:
            most = "" if RECIPE[name] == math.inf else f" to {RECIPE[name]:g}"
            raise source.wrong((*place, name), f"{name} must be a number from 0{most}, not {value!r}")
        found[name] = number
    return found


def _number(value: object) -> float | None:
    """None for what is no finite number; YAML takes 1e-4 for a text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _prompts(source: Source, world: World) -> Sequence[str]:
    asked = source.content.get("prompts", len(world.prompts) or None)
    if not isinstance(asked, list):
        if not world.prompts:
            raise source.wrong(("prompts",), "prompts must be a list of texts with {} where the subject shall stand")
        return world.prompts[: _counted(source, ("prompts",), asked, 1, len(world.prompts))]
    for number, prompt in enumerate(asked):
        if not isinstance(prompt, str) or prompt.count(SUBJECT) != 1 or "\n" in prompt:
            raise source.wrong(
                ("prompts", number),
                f"a prompt is a text in one line with one {SUBJECT} for the subject, not {prompt!r}",
            )
    if len(set(asked)) < len(asked) or not asked:
        raise source.wrong(("prompts",), "prompts must be different ones, at least one")
    return asked


def _seeds(source: Source, asked: object) -> Sequence[int]:
    if not isinstance(asked, list):
        return range(_counted(source, ("seeds",), asked, 1, 10**6))
    seeds = [_counted(source, ("seeds", number), seed, 0, 2**63, "a seed") for number, seed in enumerate(asked)]
    if len(set(seeds)) < len(seeds) or not seeds:
        raise source.wrong(("seeds",), "seeds must be different ones, at least one")
    return seeds


def _some(source: Source, place: Place, asked: object, known: Sequence[str]) -> Sequence[str]:
    """The first ones of all that are known, or those named."""
    if not isinstance(asked, list):
        return list(known[: _counted(source, place, asked, 1, len(known))])
    for number, name in enumerate(asked):
        if name not in known or name in asked[:number]:
            raise source.wrong((*place, number), f"{name!r} must be one of {', '.join(known)}, and stand there once")
    if not asked:
        raise source.wrong(place, "subjects must be at least one")
    return asked


def _counted(source: Source, place: Place, value: object, least: int, most: int, called: str = "") -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise source.wrong(place, f"{called or place[-1]} must be a number from {least} to {most}, not {value!r}")
    return value


def text_in(source: Source, place: Place, value: object) -> str:
    """A value that must be a text; raises ValueError with its line where it is none, or empty."""
    if not isinstance(value, str) or not value.strip():
        raise source.wrong(place, f"{place[-1]} must be a text, not {value!r}")
    return value


def _typed(source: Source, place: Place, value: object, kind: type) -> bool:
    if not isinstance(value, kind):
        raise source.wrong(place, f"{place[-1]} must be true or false, not {value!r}")
    return value


def _one_of(source: Source, place: Place, value: object, known: Sequence[str]) -> str:
    if value not in known:
        raise source.wrong(place, f"{place[-1]} must be one of {', '.join(known)}, not {value!r}")
    return value


def _check_keys(source: Source, place: Place, table: Mapping, known: Mapping[str, str]) -> None:
    for key in table:
        if key not in known:
            allowed = "; ".join(f"{name}: {what}" for name, what in known.items())
            raise source.wrong((*place, key), f"the key {key!r} is not known here. Allowed are {allowed}")


class DoubleKey(Exception):
    """A key is there twice, of which YAML would take the last alone; says in which line."""


def _lines(node, place: Place = ()) -> dict[Place, int]:
    """The line of every key and element; raises DoubleKey, and RecursionError where a part holds itself."""
    import yaml

    lines = {place: node.start_mark.line + 1}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if (*place, key.value) in lines:
                raise DoubleKey(f"line {key.start_mark.line + 1}: the key {key.value!r} is there twice: take one out")
            lines |= _lines(value, (*place, key.value)) | {(*place, key.value): key.start_mark.line + 1}
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            lines |= _lines(value, (*place, number))
    return lines
