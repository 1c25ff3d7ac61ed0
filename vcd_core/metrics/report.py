"""Scores of clips, and how they are told."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from ..wording import counted


@dataclass(frozen=True)
class Score:
    """One score of one clip.

    Attributes:
        name: such as "CLIP-I".
        backbone: the network or method that it was measured with; "" where there was none.
        values: one for each frame, or each frame and the next.
        missing: why there is no score and what to do; "" where there is one.
        remark: what one should know of it, such as in how many frames a face was found.
    """

    name: str
    backbone: str
    values: tuple[float, ...] = ()
    missing: str = ""
    remark: str = ""

    @property
    def mean(self) -> float:
        return fmean(self.values)

    @property
    def spread(self) -> float:
        """Standard deviation over frames; 0 of a single one."""
        return _spread(self.values)


@dataclass(frozen=True)
class ClipScores:
    """All scores of one clip.

    Attributes:
        clip: its name.
        frames, height, width: its size.
        scores: in the order in which they are told.
    """

    clip: str
    frames: int
    height: int
    width: int
    scores: tuple[Score, ...]


def as_text(clips: Sequence[ClipScores]) -> str:
    """For people: a table for each clip, and for several one over all of them."""
    blocks = []
    for clip in clips:
        lines = [
            f"{clip.clip}: {counted(clip.frames, 'frame')} of {clip.width}x{clip.height}; mean ± spread over frames"
        ]
        for score in clip.scores:
            if score.missing:
                lines.append(f"  {score.name:23} missing: {score.missing}")
            else:
                remark = f"; {score.remark}" if score.remark else ""
                lines.append(f"  {score.name:23} {_figure(score.mean, score.spread)}  {score.backbone}{remark}")
        blocks.append("\n".join(lines))
    if len(clips) > 1:
        lines = [f"{len(clips)} clips; mean of the clips' means ± spread over clips"]
        for row in _over_clips(clips):
            of = "" if row["clips"] == len(clips) else f"  of {counted(row['clips'], 'clip')}"
            lines.append(f"  {row['name']:23} {_figure(row['mean'], row['spread'])}  {row['backbone']}{of}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def as_json(clips: Sequence[ClipScores], failed: Sequence[tuple[str, str]] = ()) -> str:
    """For programs: one object with "clips", "over_clips" and "failed".

    Args:
        failed: clips that could not be read, and why.
    """
    told = [
        {
            "clip": clip.clip,
            "frames": clip.frames,
            "height": clip.height,
            "width": clip.width,
            "scores": [_as_object(score) for score in clip.scores],
        }
        for clip in clips
    ]
    missed = [{"clip": clip, "error": why} for clip, why in failed]
    return json.dumps(
        {"clips": told, "over_clips": _over_clips(clips), "failed": missed},
        indent=2,
        ensure_ascii=False,
        allow_nan=False,
    )


def _as_object(score: Score) -> dict:
    if score.missing:
        return {"name": score.name, "missing": score.missing}
    found = {"name": score.name, "mean": score.mean, "spread": score.spread, "backbone": score.backbone}
    return found | ({"remark": score.remark} if score.remark else {}) | {"values": list(score.values)}


def _over_clips(clips: Sequence[ClipScores]) -> list[dict]:
    """Of each score that some clip has: mean and standard deviation of the clips' means, so over seeds or prompts."""
    means: dict[tuple[str, str], list[float]] = {}
    for clip in clips:
        for score in clip.scores:
            if not score.missing:
                means.setdefault((score.name, score.backbone), []).append(score.mean)
    return [
        {"name": name, "mean": fmean(values), "spread": _spread(values), "clips": len(values), "backbone": backbone}
        for (name, backbone), values in means.items()
    ]


def _spread(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def _figure(mean: float, spread: float) -> str:
    """With three places, or as many as a small mean such as a warping error's wants."""
    places = 3 if abs(mean) >= 0.01 or mean == 0 else 2 - math.floor(math.log10(abs(mean)))
    return f"{mean:.{places}f} ± {spread:.{places}f}"
