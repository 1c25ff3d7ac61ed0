"""The report of a run: tables, a plot and contact sheets, as Markdown and as HTML, their pictures beside them."""

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.baselines.sizes import readable
from vcd_core.files import unfinished_file
from vcd_core.identity import Photo
from vcd_core.metrics import RESAMPLINGS
from vcd_core.wording import counted

from .plan import Plan
from .running import CLIPS, SHOWN, Outcome, frames_file, wanted_clips
from .store import Scored, lines_of
from .summary import FEWEST, Figure, differences, figures, in_all, verdict, verdicts
from .world import World

PAGE, TEXT, PLOT = "index.html", "README.md", "scores.png"
CELL, LABEL = 96, 150  # pixels of a frame, and of the words beside it
ARROWS = {1: " ↑", -1: " ↓", 0: ""}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 100rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; display: block; overflow-x: auto; white-space: nowrap; font-size: .85rem }
th, td { text-align: left; padding: .2rem 1rem .2rem 0; font-variant-numeric: tabular-nums }
tbody tr { border-top: 1px solid #8884 }
img { max-width: 100% }
@media print {
  table { display: table; white-space: normal; font-size: .6rem } th, td { padding-right: .4rem }
  tr, img { break-inside: avoid } h2 { break-after: avoid }
}
"""
NOTHING = 1e-8  # what rounding leaves of 0
VERDICTS = {
    "above": "better",
    "below": "**worse**",
    "level": "not told apart",
    "unknown": f"not to be told (fewer than {FEWEST} subjects)",
}
Rows = Mapping[str, Sequence[Scored]]


@dataclass(frozen=True)
class Report:
    """Its files in the plan's folder: the page of HTML, and the pictures that it and its Markdown show."""

    page: Path
    pictures: Sequence[str]


def write_report(plan: Plan, world: World, outcome: Outcome, command: str) -> Report:
    """What a run found, against its first row.

    Args:
        command: what made it, to be shown.
    """
    import markdown

    rows = {name: clips for name, clips in outcome.clips.items() if clips}
    if rows:
        shared, _ = _over_the_same(rows)
        _plot(plan.out / PLOT, {name: figures(clips, world.scores) for name, clips in shared.items()}, world.scores)
    sheets = {}
    for number, prompt in enumerate(plan.rows[0].prompts[: plan.sheets], 1):
        name = f"sheet_{number:02}.jpg"
        if _sheet(plan.out / name, plan, world, rows, prompt):
            sheets[prompt] = name
    text = "\n\n".join(_parts(plan, world, outcome, rows, sheets, command)) + "\n"
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Identity benchmark</title>'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">'
        f"<style>{STYLE}</style></head><body>{markdown.markdown(text, extensions=['tables'])}</body></html>\n"
    )
    for name, content in ((TEXT, text), (PAGE, page)):
        with unfinished_file(plan.out / name) as unfinished:
            unfinished.write_text(content, encoding="utf-8")
    return Report(plan.out / PAGE, [PLOT] * bool(rows) + list(sheets.values()))


def copy_report(plan: Plan, outcome: Outcome, report: Report, folder: Path) -> None:
    """The report as Markdown, the pictures that it shows, and the scores of every clip that it is of."""
    contents = {name: (plan.out / name).read_bytes() for name in (*report.pictures, TEXT)}
    of_the_plan = {clip.fingerprint for clips in outcome.clips.values() for clip in clips}
    contents[CLIPS] = lines_of(plan.out / CLIPS, of_the_plan)
    for name, content in contents.items():
        with unfinished_file(folder / name) as unfinished:
            unfinished.write_bytes(content)


def check_elsewhere(plan: Plan, folder: Path) -> None:
    """Raises ValueError for the plan's own folder, which has clips of earlier plans too."""
    if folder.resolve() == plan.out.resolve():
        raise ValueError(f"{folder} is the plan's own folder, where the report is anyway: give --docs another")


def _parts(
    plan: Plan, world: World, outcome: Outcome, rows: Rows, sheets: Mapping[str, str], command: str
) -> Iterator[str]:
    """Headings, paragraphs, tables and lists of Markdown."""
    yield "# Identity benchmark"
    yield _facts(plan, outcome, command)
    if not rows:
        yield "There is no clip yet."
    yield "## What the scores are"
    yield "\n".join(
        f"- {_plain(name)}{ARROWS[world.scores[name]]}: {_plain(world.meanings[name])}" for name in world.scores
    )
    yield (
        "↑ more is better, ↓ less is. Figures are means over subjects, of each one's mean over clips, and in brackets "
        f"their 95 % intervals: percentiles of the means of {RESAMPLINGS:,} bootstrap samples of the subjects, as far "
        "out as Student's t says for so many subjects (expanded percentile interval; Hesterberg, 2015). Of fewer than "
        f"{FEWEST} subjects nothing is concluded here; of many differences one in twenty has no 0 by chance."
    )
    first = plan.rows[0]
    own = [row.name for row in plan.rows if row.method == first.method and row.name != first.name]
    methods = {name: clips for name, clips in rows.items() if name not in own}
    ablations = {name: clips for name, clips in rows.items() if name in (first.name, *own)}
    published = {row.name: row.published for row in plan.rows if row.published}
    tables = (("Methods", methods), (f"What differs from {first.name}", ablations))
    for title, some in tables if len(rows) > 1 else (("Scores", rows),):
        if len(some) > 1 or len(rows) == 1:
            yield f"## {_plain(title)}"
            yield from _scores(world, some, published)
    if first.name in rows:
        against = {
            name: differences(rows[first.name], clips, world.scores)
            for name, clips in rows.items()
            if name != first.name
        }
        if against:
            yield f"## {_plain(first.name)} minus the others"
            yield "Over the clips of the same subject, prompt and seed that both have."
            yield _figures(world, against, signed=True)
            yield _verdicts(first.name, against, world.scores)
    if plan.claims:
        yield "## Published orderings"
        yield _claims(plan, rows)
    learning = [row.name for row in plan.rows if row.videos is None]
    if learning:
        yield "## What is trained and stored for a subject"
        yield _table(
            ["", "trained numbers", "file"],
            (
                [name, f"{outcome.parameters[name]:,}", readable(outcome.sizes[name])]
                if name in outcome.parameters
                else [name, "–", "–"]
                for name in learning
            ),
        )
    if not outcome.parameters.keys() >= set(learning):
        yield "–: what it learned is not in this folder any more, or nothing is learned yet."
    if rows:
        yield "## Plot"
        yield f"{_of_what(len(in_all(rows)))} Lines are the 95 % intervals."
        yield _picture("scores by row", PLOT)
    for prompt, name in sheets.items():
        yield f"## {_plain(prompt)}"
        yield "Of each subject a photo, and of each row's clip the first frame and the last."
        yield _picture("frames of each subject by row", name)
    if outcome.failed:
        yield "## Clips that are missing"
        yield "\n".join(f"- {_plain(f'{clip}: {why}')}" for clip, why in outcome.failed)


def shown(one: Figure | None, signed: bool = False) -> str:
    """0.585 [0.560, 0.610]; small ones with as many places as they need."""
    if one is None:
        return "–"
    values = one.mean, one.low, one.high
    places = 3 if abs(one.mean) >= 0.01 or one.mean == 0 else 5
    while any(abs(value) > NOTHING and not round(value, places) for value in values):
        places += 1  # on which side of 0 an interval ends is to be seen
    sign = "+" if signed else ""
    mean, low, high = (f"{round(value, places) + 0.0:{sign}.{places}f}" for value in values)
    return f"{mean} [{low}, {high}]"


def _plain(text: str) -> str:
    """As it is, whatever Markdown and HTML make of its characters."""
    return "".join(f"\\{one}" if one in "\\`*_|[]" else html.escape(one, quote=False) for one in text)


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Cells are Markdown; the first column is of names."""
    cells = [head, ["---"] * len(head), *([_plain(name), *others] for name, *others in lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _facts(plan: Plan, outcome: Outcome, command: str) -> str:
    there = sum(map(len, outcome.clips.values()))
    wanted = sum(1 for _ in wanted_clips(plan))
    lacking = f" of {wanted:,}, as it was stopped" if outcome.stopped else f", {len(outcome.failed)} missing"
    asked = dict.fromkeys(
        f"{counted(len(row.subjects), 'subject')} x {counted(len(row.prompts), 'prompt')} x "
        f"{counted(len(row.seeds), 'seed')} ({_listed(row.seeds)})"
        for row in plan.rows
    )
    return (
        f"Made by `{command}`: {counted(there, 'clip')}{lacking}; rows of {'; '.join(asked)}. "
        "Every clip's scores stand in clips.csv."
    )


def _listed(seeds: Sequence[int]) -> str:
    """0 to 3, or what they are."""
    first, last = seeds[0], seeds[-1]
    in_order = len(seeds) > 2 and list(seeds) == list(range(first, last + 1))
    return f"{first} to {last}" if in_order else ", ".join(map(str, seeds))


def _picture(words: str, name: str) -> str:
    """Opens by itself, larger than a page may show it."""
    return f"[![{words}]({name})]({name})"


def _over_the_same(rows: Rows) -> tuple[Rows, int]:
    """The clips that all rows have, and how many those are of each; every row's own where there are none."""
    common = in_all(rows)
    shared = {name: [clip for clip in clips if clip.asked in common] for name, clips in rows.items()}
    return shared if common else rows, len(common)


def _of_what(common: int) -> str:
    if not common:
        return "No clip is there of every row, so these are of different ones."
    return f"Over the {counted(common, 'clip')} of every row here: the same subjects, prompts and seeds."


def _scores(world: World, rows: Rows, published: Mapping[str, str]) -> Iterator[str]:
    """A table over the clips that all rows have, and one of the rows that have more."""
    shared, common = _over_the_same(rows)
    yield _of_what(common)
    yield _figures(world, {name: figures(clips, world.scores) for name, clips in shared.items()}, published=published)
    more = {name: clips for name, clips in rows.items() if len(clips) > len(shared[name])}
    if more:
        yield "Over all clips of a row, where those are more:"
        yield _figures(world, {name: figures(clips, world.scores) for name, clips in more.items()})


def _figures(
    world: World,
    table: Mapping[str, Mapping[str, Figure | None]],
    signed: bool = False,
    published: Mapping[str, str] | None = None,
) -> str:
    """A line a row, with what was published of them last, if anything was."""
    known = {name: _plain(text) for name, text in (published or {}).items() if name in table}
    lines = []
    for name, found in table.items():
        clips, subjects = max(((one.clips, one.subjects) for one in found.values() if one), default=(0, 0))
        line = [name, *(shown(found[score], signed) for score in world.scores), f"{clips} of {subjects}"]
        lines.append([*line, known.get(name, "–")] if known else line)
    head = ["", *(name + ARROWS[better] for name, better in world.scores.items()), "clips, subjects"]
    return _table([*head, "published"] if known else head, lines)


def _verdicts(first: str, against: Mapping[str, Mapping[str, Figure | None]], better: Mapping[str, int]) -> str:
    lines = [f"{_plain(first)} is better or worse where the difference's interval has no 0 in it:", ""]
    for name, found in against.items():
        said = verdicts(found, better)
        groups = [
            f"{words} in {', '.join(f'*{_plain(score)}*' for score, found in said.items() if found == key)}"
            for key, words in VERDICTS.items()
            if key in said.values()
        ]
        lines.append(f"- than {_plain(name)}: {'; '.join(groups) or 'nothing to compare'}")
    return "\n".join(lines)


def _claims(plan: Plan, rows: Rows) -> str:
    words = {
        "above": "holds",
        "below": "**the other way round**",
        "level": "not told apart",
        "unknown": "too few subjects",
    }
    lines = []
    for claim in plan.claims:
        found = differences(rows.get(claim.more, ()), rows.get(claim.less, ()), [claim.score])[claim.score]
        said = words[verdict(found)] if found else "no clips yet"
        of = f"{found.clips} of {found.subjects}" if found else "–"
        difference = shown(found, True)
        lines.append([f"{claim.more} > {claim.less}", claim.score, _plain(claim.published), difference, of, said])
    return _table(["", "in", "published", "here: the difference", "clips, subjects", ""], lines)


def _plot(path: Path, table: Mapping[str, Mapping[str, Figure | None]], scores: Mapping[str, int]) -> None:
    from matplotlib.figure import Figure as Canvas

    names = list(table)
    canvas = Canvas(figsize=(2.4 * len(scores) + 2, 0.35 * len(names) + 1.4), layout="constrained")
    axes = canvas.subplots(1, len(scores), sharey=True, squeeze=False)[0]
    for axis, (score, better) in zip(axes, scores.items(), strict=True):
        for place, name in enumerate(names):
            if (one := table[name][score]) is not None:
                axis.plot([one.low, one.high], [place, place], color="0.6")
                axis.plot(one.mean, place, "o", color="C0" if place == 0 else "0.2")
        axis.set(
            title=score + {1: " (more is better)", -1: " (less is better)", 0: ""}[better], yticks=range(len(names))
        )
        axis.title.set_fontsize(9)
        axis.locator_params(axis="x", nbins=4)
    axes[0].set_yticklabels(names)
    axes[0].invert_yaxis()
    with unfinished_file(path) as unfinished:
        canvas.savefig(unfinished, format="png", dpi=110)


def _sheet(path: Path, plan: Plan, world: World, rows: Rows, prompt: str) -> bool:
    """Frames of one prompt, a column a subject and a line a row, photos above; False where none are kept."""
    from PIL import Image, ImageDraw, ImageFont

    strips = {
        name: {
            clip.subject: file
            for clip in clips
            if clip.prompt == prompt and (file := frames_file(plan, clip.fingerprint)).is_file()
        }
        for name, clips in rows.items()
    }
    strips = {name: found for name, found in strips.items() if found}
    first = plan.rows[0].subjects[: plan.sheet_subjects]
    subjects = [one for one in first if any(one in found for found in strips.values())]
    if not subjects:
        return False
    width, height = LABEL + 2 * CELL * len(subjects), 20 + CELL * (1 + len(strips))
    sheet = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for column, subject in enumerate(subjects):
        pen.text((LABEL + 2 * CELL * column, 2), subject, fill="black", font=font)
        with suppress(ValueError, OSError):  # photos may be gone since
            sheet.paste(_photo(world.photos(subject)[0]), (LABEL + 2 * CELL * column, 20))
    pen.text((2, 20), "photo", fill="black", font=font)
    for line, (name, found) in enumerate(strips.items(), 1):
        pen.text((2, 20 + CELL * line), name.replace(", ", ",\n"), fill="black", font=font)
        for column, subject in enumerate(subjects):
            if subject in found:
                with Image.open(found[subject]) as strip:
                    side = strip.width // SHOWN
                    for place, frame in enumerate((0, SHOWN - 1)):
                        part = strip.crop((frame * side, 0, (frame + 1) * side, strip.height)).resize((CELL, CELL))
                        sheet.paste(part, (LABEL + CELL * (2 * column + place), 20 + CELL * line))
    with unfinished_file(path) as unfinished:
        sheet.save(unfinished, format="JPEG", quality=90)
    return True


def _photo(photo: Photo):
    """Its middle, as large as a frame."""
    from PIL import Image, ImageOps

    pixels = (photo.image.clamp(0, 1) * 255).round().byte().cpu().numpy()
    return ImageOps.fit(Image.fromarray(pixels), (CELL, CELL))
