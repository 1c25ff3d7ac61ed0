"""From a clip to the faces in it that are to be drawn anew, and a report for whoever asked."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from ..vision import Face, FaceDetector
from .choice import ALL, ORDERS, SAME_PERSON, choose_tracks, name_of
from .crops import CropOptions, CropPath, plan_crop
from .cuts import CutFinder
from .tracks import Track, TrackOptions, track_faces

BATCH = 16  # frames that a detector sees at once
USUAL_TRACKING = TrackOptions()


@dataclass(frozen=True)
class FoundFaces:
    """What a detector found in a clip.

    Attributes:
        faces: of every frame.
        cuts: the frames that begin a new shot.
        size: of the picture, (H, W).
    """

    faces: list[Sequence[Face]]
    cuts: list[int]
    size: tuple[int, int]


@dataclass(frozen=True)
class FaceChoice:
    """Which faces are meant; see `choose_tracks`.

    Attributes:
        order, index: the index-th in an order, or all.
        reference: (D,) the embedding of the person meant.
        least_likeness: cosine from which two embeddings are the same person's.
    """

    order: str = ORDERS[0]
    index: int = ALL
    reference: np.ndarray | None = None
    least_likeness: float = SAME_PERSON


@dataclass(frozen=True)
class FacePlan:
    """The faces that are meant, and what was done and left undone.

    Attributes:
        tracks, paths: of each face, by its first frame, and where its crop is.
        people: for each, the number of the choice that means it.
        left_alone: where the other faces are.
        report: lines for the user.
    """

    tracks: list[Track] = field(default_factory=list)
    paths: list[CropPath] = field(default_factory=list)
    people: list[int] = field(default_factory=list)
    left_alone: list[CropPath] = field(default_factory=list)
    report: list[str] = field(default_factory=list)


class InOrder:
    """A FaceDetector of faces that are known: it gives those of the frames that it is shown, one after the other."""

    def __init__(self, faces: Iterable[Sequence[Face]]) -> None:
        self._faces = iter(faces)

    def detect(self, images: Tensor) -> list[Sequence[Face]]:
        return list(islice(self._faces, len(images)))


def find_faces(
    frames: Iterable[Tensor], detector: FaceDetector, progress: Callable[[int], None] = lambda frames: None
) -> FoundFaces:
    """Looks at a clip once, a few frames at a time.

    Args:
        frames: (H, W, 3) float32 in [0, 1], all of one size.
        progress: called with the number of frames that are done.

    Raises:
        ValueError: no frames, or frames of several sizes.
    """
    faces: list[Sequence[Face]] = []
    cuts, waiting = CutFinder(), []
    size: tuple[int, int] | None = None

    def look() -> None:
        faces.extend(detector.detect(torch.stack(waiting).movedim(-1, 1)))
        waiting.clear()
        progress(len(faces))

    for frame in frames:
        shape = tuple(frame.shape[:2])
        if size not in (None, shape):
            raise ValueError(f"a frame is {shape[1]}x{shape[0]} and the ones before {size[1]}x{size[0]}: give one clip")
        size = shape
        cuts.add(frame)
        waiting.append(frame)
        if len(waiting) == BATCH:
            look()
    if waiting:
        look()
    if size is None:
        raise ValueError("the clip has no frames: connect one that has")
    return FoundFaces(faces, cuts.cuts(), size)


def plan_faces(
    found: FoundFaces,
    crop: CropOptions,
    people: Sequence[FaceChoice] = (FaceChoice(),),
    tracking: TrackOptions = USUAL_TRACKING,
) -> FacePlan:
    """Follows the faces, chooses those that are meant, and plans their crops; no face is no error.

    Args:
        people: who is meant; a face that several choices mean belongs to the one whose reference it is most like, or to
            the first.
    """
    tracks, errors = track_faces(found.faces, found.cuts, tracking)
    choices = [
        choose_tracks(
            tracks,
            found.size,
            order=one.order,
            index=one.index,
            reference=one.reference,
            least_likeness=one.least_likeness,
        )
        for one in people
    ]

    def likeness(track: Track, number: int) -> float:
        reference = people[number].reference
        return 0.0 if reference is None else float(track.embedding @ reference)

    owned: dict[int, int] = {}  # by the numbers of tracks, those of people
    for at, track in enumerate(tracks):
        numbers = [number for number, (chosen, _) in enumerate(choices) if any(track is one for one in chosen)]
        if numbers:
            owned[at] = max(numbers, key=lambda number, track=track: likeness(track, number))
    others = [f"{name_of(track)} is none of these" for number, track in enumerate(tracks) if number not in owned]
    if len(people) == 1:
        (_, others) = choices[0]
    paths = [plan_crop(track, found.size, crop) for track in tracks]
    for number in list(owned):
        enlargement = crop.size / float(np.median(paths[number].sides))
        if enlargement < crop.min_enlargement:
            del owned[number]
            others.append(
                f"{name_of(tracks[number])} would be enlarged only {math.floor(100 * enlargement) / 100:g} times, and "
                f"min_enlargement asks for {crop.min_enlargement:g}: lower it to draw this face"
            )
    meant = [tracks[number] for number in owned]
    seen = sum(bool(faces) for faces in found.faces)
    shots = f", {len(found.cuts) + 1} shots" if found.cuts else ""
    frames = "1 frame" if len(found.faces) == 1 else f"{len(found.faces)} frames"
    lines = [f"{frames}{shots}; faces in {seen} of them; {len(meant)} to be drawn anew"]
    if not meant:
        lines.append("no face to draw anew: the clip stays as it is")
    for number, track in zip(owned.values(), meant, strict=True):
        who = f" person {number + 1}," if len(people) > 1 else ""
        seen_in = f"found in {track.seen.sum()} of {len(track.seen)} frames"
        lines.append(f"{name_of(track)}{who} about {track.size:.0f} pixels, {seen_in}")
    lines += [f"left alone: {line}" for line in (*others, *errors)]
    left_alone = [path for number, path in enumerate(paths) if number not in owned]
    return FacePlan(meant, [paths[number] for number in owned], list(owned.values()), left_alone, lines)
