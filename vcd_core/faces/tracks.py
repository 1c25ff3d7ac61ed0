"""Faces over time: which of the faces found in single pictures are the same one."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from ..vision import Face

IMPOSSIBLE = 1e6
REMEMBERED = 8  # embeddings of a face that is followed, and boxes that its speed is taken from
SIZE_CHANGE = 2.0  # between one sighting and the next


@dataclass(frozen=True)
class TrackOptions:
    """What counts as the same face.

    Attributes:
        reach: how far from where it is expected a face may be found, in face sizes; twice that while its speed is
            not known.
        max_gap: for how many frames a face may be out of sight and still be the same.
        least_likeness: cosine of two embeddings below which they are two people.
        least_seen: a face found in fewer frames than this (and than half its shot) is taken for an error.
        least_size: pixels; smaller faces are left alone.
    """

    reach: float = 1.0
    max_gap: int = 12
    least_likeness: float = 0.2
    least_seen: int = 3
    least_size: float = 16.0


@dataclass(frozen=True)
class Track:
    """One face over consecutive frames of one shot.

    Attributes:
        first: the frame of its first box.
        boxes: (n, 4) x0, y0, x1, y1, pixels, end-exclusive; in a gap on the way between its ends.
        seen: (n,) whether it was found in that frame; true at both ends.
        landmarks: (n, 5, 2) pixels x, y; not a number where they are not known.
        embedding: (D,) of unit length, the mean of what was seen; None if the detector knows none.
        shot: which part of the clip between two cuts it is in.
        comes, goes: whether the shot has frames before its first, and after its last.
    """

    first: int
    boxes: np.ndarray
    seen: np.ndarray
    landmarks: np.ndarray
    embedding: np.ndarray | None
    shot: int
    comes: bool = False
    goes: bool = False

    @property
    def frames(self) -> range:
        return range(self.first, self.first + len(self.boxes))

    @property
    def size(self) -> float:
        """The median of its boxes' longer sides, pixels."""
        return float(np.median((self.boxes[:, 2:] - self.boxes[:, :2]).max(1)))

    @property
    def centre(self) -> np.ndarray:
        """(2,) the mean of its boxes' middles, pixels x, y."""
        return (self.boxes[:, :2] + self.boxes[:, 2:]).mean(0) / 2


def track_faces(
    found: Sequence[Sequence[Face]], cuts: Collection[int] = (), options: TrackOptions = TrackOptions()
) -> tuple[list[Track], list[str]]:
    """Joins the faces of single frames to tracks.

    In each frame all faces are given to all tracks at once, at the least total cost (the Hungarian method): the
    distance from where a face is expected at the speed it had, in face sizes, the change of its size, and how
    unlike its embedding is. So two people who cross keep their tracks, by their speed alone if need be.

    Args:
        found: the faces of every frame.
        cuts: frames that begin a new shot; every track ends before them.

    Returns:
        The tracks by their first frame, and a line for each that was left out, saying why.
    """
    tracks: list[_Open] = []
    open_now: list[_Open] = []
    shot = 0
    shots = [range(*borders) for borders in pairwise([0, *sorted(cuts), len(found)])]
    for frame, faces in enumerate(found):
        if frame in cuts:
            open_now, shot = [], shot + 1
        open_now = [track for track in open_now if frame - track.frames[-1] <= options.max_gap + 1]
        pairs = _assign(open_now, faces, frame, options)
        for number, face in enumerate(faces):
            track = pairs.get(number)
            if track is None:
                track = _Open(shot)
                tracks.append(track)
                open_now.append(track)
            track.add(frame, face)
    kept, left_out = [], []
    for track in (one.finished(shots[one.shot]) for one in tracks):
        length = len(shots[track.shot])
        enough = min(options.least_seen, max(1, length // 2))
        where = f"the face about ({track.centre[0]:.0f}, {track.centre[1]:.0f}) in frame {track.first}"
        if track.seen.sum() < enough:
            left_out.append(f"{where} was found in {track.seen.sum()} of {length} frames only: taken for an error")
        elif track.size < options.least_size:
            left_out.append(f"{where} is {int(track.size)} pixels large, less than {options.least_size:g}: too small")
        else:
            kept.append(track)
    return kept, left_out


@dataclass
class _Open:
    """A track that may go on."""

    shot: int
    frames: list[int] = field(default_factory=list)
    faces: list[Face] = field(default_factory=list)

    def add(self, frame: int, face: Face) -> None:
        self.frames.append(frame)
        self.faces.append(face)

    def expected(self, frame: int) -> tuple[np.ndarray, float]:
        """Where its middle should be (2,), and its size, at the speed of its last sightings."""
        boxes = np.array([face.box for face in self.faces[-REMEMBERED:]])
        times = np.array(self.frames[-REMEMBERED:])
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2
        recent = times >= times[-1] - REMEMBERED
        speed = np.zeros(2)
        if recent.sum() > 1:
            lever = times[recent] - times[recent].mean()
            speed = lever @ (middles[recent] - middles[recent].mean(0)) / (lever @ lever)
        return middles[-1] + speed * (frame - times[-1]), float((boxes[-1, 2:] - boxes[-1, :2]).max())

    def likeness(self, face: Face) -> float | None:
        """The largest cosine with what was seen last; None if that is not known."""
        if face.embedding is None:
            return None
        known = [one.embedding for one in self.faces[-REMEMBERED:] if one.embedding is not None]
        return max((float(one @ face.embedding) for one in known), default=None)

    def finished(self, shot: range) -> Track:
        frames = np.arange(self.frames[0], self.frames[-1] + 1)
        boxes = np.array([face.box for face in self.faces], float)
        landmarks = np.full((len(frames), 5, 2), np.nan)
        for frame, face in zip(self.frames, self.faces, strict=True):
            if face.landmarks is not None:
                landmarks[frame - self.frames[0]] = face.landmarks
        embeddings = [face.embedding.numpy() for face in self.faces if face.embedding is not None]
        mean = np.mean(embeddings, 0) if embeddings else None
        return Track(
            self.frames[0],
            np.stack([np.interp(frames, self.frames, side) for side in boxes.T], 1),
            np.isin(frames, self.frames),
            landmarks,
            None if mean is None else mean / max(np.linalg.norm(mean), 1e-12),
            self.shot,
            comes=self.frames[0] > shot.start,
            goes=self.frames[-1] < shot.stop - 1,
        )


def _assign(tracks: list[_Open], faces: Sequence[Face], frame: int, options: TrackOptions) -> dict[int, _Open]:
    """Which face, by its number, goes on which track."""
    from scipy.optimize import linear_sum_assignment

    costs = np.array([[_cost(track, face, frame, options) for face in faces] for track in tracks])
    if not costs.size:
        return {}
    rows, columns = linear_sum_assignment(costs)
    return {
        int(column): tracks[row] for row, column in zip(rows, columns, strict=True) if costs[row, column] < IMPOSSIBLE
    }


def _cost(track: _Open, face: Face, frame: int, options: TrackOptions) -> float:
    expected, size = track.expected(frame)
    box = np.array(face.box)
    own = float((box[2:] - box[:2]).max())
    distance = float(np.linalg.norm((box[:2] + box[2:]) / 2 - expected)) / ((size + own) / 2)
    growth = abs(np.log(own / size))
    likeness = track.likeness(face)
    reach = options.reach * (2 if len(track.frames) == 1 else 1)
    unlike = 0.0 if likeness is None else 1 - likeness
    if distance > reach or growth > np.log(SIZE_CHANGE) or unlike > 1 - options.least_likeness:
        return IMPOSSIBLE
    return distance + growth + unlike
