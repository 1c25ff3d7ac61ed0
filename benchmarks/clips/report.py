"""The report of a run: tables, a plot and contact sheets, as one page of HTML with its pictures beside it."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.baselines.sizes import readable
from vcd_core.files import unfinished_file

from .plan import Plan
from .running import SHOWN, Outcome, frames_file
from .summary import Figure, differences, figures, verdicts
from .world import World

PAGE, PLOT = "index.html", "scores.png"
CELL, LABEL = 96, 150  # pixels of a frame, and of the words beside it
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 80rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse } th, td { text-align: left; padding: .2rem 1rem .2rem 0; vertical-align: top }
small { opacity: .7 } img { max-width: 100% }
"""


def write_report(plan: Plan, world: World, outcome: Outcome, command: str) -> Path:
    """What a run found, against its first row.

    Args:
        command: what made it, to be shown.
    """
    rows = {name: clips for name, clips in outcome.clips.items() if clips}
    table = {name: figures(clips, world.scores) for name, clips in rows.items()}
    first = plan.rows[0].name
    against = {
        name: differences(rows[first], clips, world.scores)
        for name, clips in rows.items()
        if name != first and first in rows
    }
    parts = [
        _facts(plan, outcome, command),
        "<h2>Scores</h2><p>Mean over subjects and its 95 % interval (bootstrap over subjects).</p>",
        _table(world, table),
        f"<h2>{html.escape(first)} minus the others</h2><p>Over the clips of the same subject, prompt and seed.</p>",
        _table(world, against),
        _verdict(first, against, world.scores),
        "<h2>What is trained and stored for a subject</h2>",
        _sizes(outcome),
    ]
    if table:
        _plot(plan.out / PLOT, table, world.scores)
        parts.append(f'<h2>Plot</h2><img src="{PLOT}" alt="scores by row">')
    for number, prompt in enumerate(plan.rows[0].prompts[: plan.sheets], 1):
        name = f"sheet_{number:02}.jpg"
        if _sheet(plan.out / name, plan, rows, prompt):
            parts.append(f'<h2>{html.escape(prompt)}</h2><img src="{name}" alt="frames of each subject by row">')
    if outcome.failed:
        lines = "".join(f"<li>{html.escape(clip)}: {html.escape(why)}</li>" for clip, why in outcome.failed)
        parts.append(f"<h2>Clips that are missing</h2><ul>{lines}</ul>")
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Identity benchmark</title>'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">'
        f"<style>{STYLE}</style></head><body><h1>Identity benchmark</h1>{''.join(parts)}</body></html>\n"
    )
    with unfinished_file(plan.out / PAGE) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return plan.out / PAGE


def shown(one: Figure | None, signed: bool = False) -> str:
    """0.585 [0.560, 0.610]; small ones with as many places as they need."""
    if one is None:
        return "–"
    places = 3 if abs(one.mean) >= 0.01 or one.mean == 0 else 5
    sign = "+" if signed else ""
    return f"{one.mean:{sign}.{places}f} [{one.low:{sign}.{places}f}, {one.high:{sign}.{places}f}]"


def _facts(plan: Plan, outcome: Outcome, command: str) -> str:
    there = sum(map(len, outcome.clips.values()))
    seeds = "; ".join(dict.fromkeys(f"{len(row.seeds)} from {row.seeds[0]}" for row in plan.rows))
    facts = {"command": command, "clips": f"{there}, {len(outcome.failed)} missing", "seeds of a clip": seeds}
    lines = "".join(f"<tr><th>{name}</th><td>{html.escape(value)}</td></tr>" for name, value in facts.items())
    return f"<table>{lines}</table>"


def _table(world: World, table: Mapping[str, Mapping[str, Figure | None]]) -> str:
    arrows = {1: "↑", -1: "↓", 0: ""}
    head = "".join(f"<th>{html.escape(name)} {arrows[better]}</th>" for name, better in world.scores.items())
    lines = []
    for name, found in table.items():
        counts = [(one.clips, one.subjects) for one in found.values() if one]
        clips, subjects = max(counts, default=(0, 0))
        cells = "".join(f"<td>{shown(found[score])}</td>" for score in world.scores)
        lines.append(
            f"<tr><th>{html.escape(name)}<br><small>{clips} clips, {subjects} subjects</small></th>{cells}</tr>"
        )
    return f"<table><tr><th></th>{head}</tr>{''.join(lines)}</table>"


def _verdict(first: str, against: Mapping[str, Mapping[str, Figure | None]], better: Mapping[str, int]) -> str:
    lines = []
    for name, found in against.items():
        said = verdicts(found, better)
        groups = [
            f"{words} in {', '.join(score for score, verdict in said.items() if verdict == key)}"
            for key, words in (("above", "better"), ("below", "<b>worse</b>"), ("level", "no different"))
            if key in said.values()
        ]
        lines.append(f"<li>than {html.escape(name)}: {'; '.join(groups) or 'nothing to compare'}</li>")
    return f"<p>{html.escape(first)} is (by intervals without 0)</p><ul>{''.join(lines)}</ul>"


def _sizes(outcome: Outcome) -> str:
    lines = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{count:,}</td><td>{readable(outcome.sizes[name])}</td></tr>"
        for name, count in outcome.parameters.items()
    )
    return f"<table><tr><th></th><th>trained numbers</th><th>file</th></tr>{lines}</table>"


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
    axes[0].set_yticklabels(names)
    axes[0].invert_yaxis()
    with unfinished_file(path) as unfinished:
        canvas.savefig(unfinished, format="png", dpi=110)


def _sheet(path: Path, plan: Plan, rows: Mapping[str, Sequence], prompt: str) -> bool:
    """Frames of one prompt, a column a subject and a line a row; False where none are kept."""
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
    subjects = [one for one in plan.rows[0].subjects if any(one in found for found in strips.values())]
    if not subjects:
        return False
    width, height = LABEL + 2 * CELL * len(subjects), 20 + CELL * len(strips)
    sheet = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for column, subject in enumerate(subjects):
        pen.text((LABEL + 2 * CELL * column, 2), subject, fill="black", font=font)
    for line, (name, found) in enumerate(strips.items()):
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
