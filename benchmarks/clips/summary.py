"""Means over subjects with their intervals, and differences between rows over the clips that both have."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vcd_core.metrics import interval_95, resampled_means

from .store import Asked, Scored

FEWEST = 6
"""Subjects that a verdict needs: of five that differ from each other by chance alone, all do so to the same side more
often than one time in twenty, and then the interval has no 0 in it."""


@dataclass(frozen=True)
class Figure:
    """A mean over subjects, its 95 % interval, and how many subjects and clips it is of."""

    mean: float
    low: float
    high: float
    subjects: int
    clips: int


def figure(values: Iterable[tuple[str, float]]) -> Figure | None:
    """Of (subject, value) of each clip; None without any.

    The mean of the subjects' means. The interval is about subjects drawn again: with other clips of the same
    subjects the figure would change less than with other subjects.
    """
    of_subject: dict[str, list[float]] = {}
    for subject, value in values:
        of_subject.setdefault(subject, []).append(value)
    if not of_subject:
        return None
    # The same in whatever order clips are.
    means = np.array([math.fsum(values) / len(values) for _, values in sorted(of_subject.items())])
    low, high = interval_95(resampled_means(means, np.random.default_rng(0)), len(means))
    clips = sum(map(len, of_subject.values()))
    return Figure(float(means.mean()), low, high, len(means), clips)


def figures(clips: Sequence[Scored], scores: Iterable[str]) -> dict[str, Figure | None]:
    """Of each score, over the clips that have it."""
    return {name: figure((clip.subject, clip.scores[name]) for clip in clips if name in clip.scores) for name in scores}


def differences(ours: Sequence[Scored], theirs: Sequence[Scored], scores: Iterable[str]) -> dict[str, Figure | None]:
    """Ours minus theirs, over the clips of the same subject, prompt and seed that both have."""
    both = pairs(ours, theirs)
    return {
        name: figure(
            (clip.subject, clip.scores[name] - other.scores[name])
            for clip, other in both
            if name in clip.scores and name in other.scores
        )
        for name in scores
    }


def verdicts(found: Mapping[str, Figure | None], better: Mapping[str, int]) -> dict[str, str]:
    """Whether ours is "above", "below" or "level" in each score that has a better end: by the interval, without 0.

    "unknown" where the difference is of fewer than `FEWEST` subjects.
    """
    said = {}
    for name, one in found.items():
        if one is not None and better[name]:
            low, high = sorted((better[name] * one.low, better[name] * one.high))
            known = "above" if low > 0 else "below" if high < 0 else "level"
            said[name] = known if one.subjects >= FEWEST else "unknown"
    return said


def verdict(one: Figure) -> str:
    """Of a difference, of which more is better."""
    return verdicts({"": one}, {"": 1})[""]


def pairs(ours: Sequence[Scored], theirs: Sequence[Scored]) -> list[tuple[Scored, Scored]]:
    """The clips of the same subject, prompt and seed."""
    known = {clip.asked: clip for clip in theirs}
    return [(clip, known[clip.asked]) for clip in ours if clip.asked in known]


def in_all(rows: Mapping[str, Sequence[Scored]]) -> set[Asked]:
    """What every row has a clip of; nothing without rows."""
    asked = [{clip.asked for clip in clips} for clips in rows.values()]
    return set.intersection(*asked) if asked else set()
