"""What the page shows of a clip's faces: when each is there, and how it looked before and after."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from torch import Tensor

from ...vcd_core.faces import Track
from .page import picture_url

FACES = 12
PAIRS, PAIRS_A_FACE = 24, 6  # pictures before and after: of all faces together, and of one
PAIR = 160  # pixels of each


def face_timeline(frames: int, cuts: Sequence[int], tracks: Sequence[Track], pairs: Sequence[Sequence[Tensor]]) -> dict:
    """A clip's length, its cuts, and of the first twelve faces the frames with them and some pictures.

    Args:
        cuts: frames that begin a shot.
        tracks: the faces that were meant.
        pairs: for each of these, for each frame of its track, (S, 2 S, 3) in [0, 1]: before and after side by side; or
            nothing, if nothing was drawn.
    """
    tracks = tracks[:FACES]
    count = min(PAIRS_A_FACE, max(1, PAIRS // max(1, len(tracks))))
    faces = [_face(track, pairs[number] if pairs else (), count) for number, track in enumerate(tracks)]
    return {"frames": frames, "cuts": list(cuts), "faces": faces}


def _face(track: Track, pairs: Sequence[Tensor], count: int) -> dict:
    chosen = sorted({*np.linspace(0, len(pairs) - 1, count).round().astype(int).tolist()}) if pairs else []
    x, y = track.centre
    return {
        "name": f"({x:.0f}, {y:.0f})",
        "pixels": round(track.size),
        "span": [track.first, track.first + len(track.seen)],
        "seen": [[track.first + start, track.first + end] for start, end in _runs(track.seen.tolist())],
        "pairs": [_pair(track.first + at, pairs[at]) for at in chosen],
    }


def _pair(frame: int, pair: Tensor) -> dict:
    before, after = pair.float().chunk(2, dim=1)
    return {"frame": frame, "before": picture_url(before, PAIR), "after": picture_url(after, PAIR)}


def _runs(seen: Sequence[bool]) -> list[tuple[int, int]]:
    """Where a face was found without a break: (first, end)."""
    runs, at = [], 0
    for found, group in groupby(seen):
        end = at + len(list(group))
        if found:
            runs.append((at, end))
        at = end
    return runs
