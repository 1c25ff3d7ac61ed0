"""Which of the faces in a clip are meant."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from ..vision import FaceDetector
from .tracks import Track

ORDERS = ("largest first", "left to right", "top to bottom", "nearest the middle")
ALL = -1
SAME_PERSON = 0.3  # cosine of two ArcFace embeddings from which they are taken for one person's

NEEDS_RECOGNITION = (
    "a reference photo needs a detector that recognises people: choose insightface, or take the photo away and choose "
    "the face by its place"
)


def choose_tracks(
    tracks: Sequence[Track],
    size: tuple[int, int],
    *,
    order: str = ORDERS[0],
    index: int = ALL,
    reference: np.ndarray | None = None,
    least_likeness: float = SAME_PERSON,
) -> tuple[list[Track], list[str]]:
    """The tracks that are meant, and a line for each that is not.

    Faces are counted among those that are there at the same time: somebody who was hidden for a while, or is seen again
    after a cut, has the number of the faces beside her then.

    Args:
        size: of the picture, (H, W).
        order, index: the index-th face in one of ORDERS, from 0; `ALL` for every one.
        reference: (D,) an embedding, in place of order and index; of the faces that are there at once the one most like
            it is meant, if its likeness is at least `least_likeness`.

    Raises:
        ValueError: an unknown order, or a reference beside tracks without embeddings.
    """
    if order not in ORDERS:
        raise ValueError(f"the order of faces is one of {', '.join(ORDERS)}, not {order!r}")
    if reference is not None and any(track.embedding is None for track in tracks):
        raise ValueError(NEEDS_RECOGNITION)
    ranks = [(_rank(track, size, order), at) for at, track in enumerate(tracks)]  # no two are equal
    meant, left_out = [], []
    for track, rank in zip(tracks, ranks, strict=True):
        beside = [at for at, other in enumerate(tracks) if other is not track and _at_once(track, other)]
        if reference is not None:
            likeness = float(track.embedding @ reference)
            if likeness < least_likeness or any(tracks[at].embedding @ reference > likeness for at in beside):
                left_out.append(f"{name_of(track)} is somebody else (likeness {likeness:.2f})")
                continue
        number = sum(ranks[at] < rank for at in beside)
        if index in (ALL, number) or reference is not None:
            meant.append(track)
        else:
            left_out.append(f"{name_of(track)} is number {number} ({order}), not {index}")
    return sorted(meant, key=lambda track: track.first), left_out


def name_of(track: Track) -> str:
    """What a report calls a track."""
    x, y = track.centre
    return f"the face about ({x:.0f}, {y:.0f}), frames {track.frames[0]}-{track.frames[-1]},"


def reference_embedding(detector: FaceDetector, photo: Tensor) -> np.ndarray:
    """The embedding of the one face in a photo (H, W, 3) in [0, 1].

    Raises:
        ValueError: no face or several, or the detector does not recognise people.
    """
    (faces,) = detector.detect(photo[None, ..., :3].movedim(-1, 1))
    if any(face.embedding is None for face in faces):
        raise ValueError(NEEDS_RECOGNITION)
    if len(faces) != 1:
        found = "no face" if not faces else f"{len(faces)} faces"
        raise ValueError(f"the reference photo shows {found}: give one that shows one person's face, well lit")
    return faces[0].embedding.numpy()


def _at_once(one: Track, other: Track) -> bool:
    return max(one.frames.start, other.frames.start) < min(one.frames.stop, other.frames.stop)


def _rank(track: Track, size: tuple[int, int], order: str) -> float:
    x, y = track.centre
    return {
        "largest first": -track.size,
        "left to right": x,
        "top to bottom": y,
        "nearest the middle": float(np.hypot(x - size[1] / 2, y - size[0] / 2)),
    }[order]
