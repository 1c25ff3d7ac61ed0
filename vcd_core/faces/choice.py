"""Which of the faces in a clip are meant."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from ..vision import FaceDetector
from .tracks import Track

ORDERS = ("largest first", "left to right", "top to bottom", "nearest the middle")
ALL = -1


def choose_tracks(
    tracks: Sequence[Track],
    size: tuple[int, int],
    *,
    order: str = ORDERS[0],
    index: int = ALL,
    reference: np.ndarray | None = None,
    least_likeness: float = 0.2,
) -> tuple[list[Track], list[str]]:
    """The tracks that are meant, in each shot anew, and a line for each that is not.

    Args:
        size: of the picture, (H, W).
        order, index: the index-th face of each shot in one of ORDERS, from 0; `ALL` for every one.
        reference: (D,) an embedding; faces less like it than `least_likeness` are not meant.

    Raises:
        ValueError: an unknown order, or a reference beside tracks without embeddings.
    """
    if order not in ORDERS:
        raise ValueError(f"the order of faces is one of {', '.join(ORDERS)}, not {order!r}")
    if reference is not None and any(track.embedding is None for track in tracks):
        raise ValueError(
            "a reference photo needs a detector that recognises people: choose insightface, or take the photo away and "
            "choose the face by its place"
        )
    meant, left_out = [], []
    for shot in sorted({track.shot for track in tracks}):
        present = [track for track in tracks if track.shot == shot]
        if reference is not None:
            alike = [float(track.embedding @ reference) for track in present]
            for track, likeness in zip(present, alike, strict=True):
                if likeness < least_likeness:
                    left_out.append(f"{name_of(track)} is somebody else (likeness {likeness:.2f})")
            present = [track for track, likeness in zip(present, alike, strict=True) if likeness >= least_likeness]
        present.sort(key=lambda track: _rank(track, size, order))
        for number, track in enumerate(present):
            if index in (ALL, number):
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
    if len(faces) != 1:
        found = "no face" if not faces else f"{len(faces)} faces"
        raise ValueError(f"the reference photo shows {found}: give one that shows one person's face, well lit")
    if faces[0].embedding is None:
        raise ValueError(
            "a reference photo needs a detector that recognises people: choose insightface, or take the photo away and "
            "choose the face by its place"
        )
    return faces[0].embedding.numpy()


def _rank(track: Track, size: tuple[int, int], order: str) -> float:
    x, y = track.centre
    return {
        "largest first": -track.size,
        "left to right": x,
        "top to bottom": y,
        "nearest the middle": float(np.hypot(x - size[1] / 2, y - size[0] / 2)),
    }[order]
