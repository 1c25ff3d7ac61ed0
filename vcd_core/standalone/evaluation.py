"""`vcd evaluate`: the scores of clips."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor

from ..identity import Photo, load_photos
from ..metrics import ClipScores, Evaluator, FaceEmbedder, as_json, as_text, load_clip, load_dino
from ..video import CONTAINERS, VideoInfo, check_whole, probe_video, read_video
from ..vision import load_insight_faces
from .cli import SomeFailed
from .console import best_device, say
from .prompts import without_tokens

NONE = "none"
MASK = ".mask"


def evaluate(arguments: argparse.Namespace) -> None:
    """Scores clips one after another; of several, one that cannot be read, or was cut off, does not stop the others.

    Raises:
        SomeFailed: which of several clips could not be scored, and why.
        ValueError: the only clip cannot be read or was cut off, or what all of them need is not there.
    """
    clips = [clip for clip in arguments.clips if not clip.stem.endswith(MASK)] or arguments.clips
    evaluator = _evaluator(arguments)
    scores, failed = [], []
    for clip in clips:
        try:
            scores.append(_scores(evaluator, clip))
        except (ValueError, OSError) as error:
            if len(clips) == 1:
                raise
            failed.append((str(clip), " ".join(str(error).split())))
    if arguments.json:
        say(as_json(scores, failed))
    elif scores:
        say(as_text(scores))
    if failed:
        why = "; ".join(f"{clip}: {error}" for clip, error in failed)
        raise SomeFailed(f"{len(failed)} of {len(clips)} clips could not be evaluated: {why}")


def _evaluator(arguments: argparse.Namespace) -> Evaluator:
    photos = _photos(arguments.reference)
    return Evaluator(
        [photo.image for photo in photos],
        [photo.mask for photo in photos],
        prompt=without_tokens(arguments.prompt),
        unrelated=[photo.image for photo in _photos(arguments.unrelated)],
        clip=_network("--clip", arguments.clip, load_clip),
        dino=_network("--dino", arguments.dino, load_dino),
        face=_faces(arguments.insightface),
    )


def _photos(folder: Path | None) -> Sequence[Photo]:
    return [] if folder is None else load_photos(folder)


def _network(option: str, source: str, load):
    """From a folder, which wins over a Hugging Face id of the same name."""
    if source == NONE:
        return None
    folder = Path(source)
    try:
        return load(folder if folder.is_dir() else source).to(best_device())
    except ValueError as error:
        raise ValueError(f"{error}; {option} {NONE} leaves its scores out") from error


def _faces(pack: Path | None) -> FaceEmbedder | None:
    if pack is None:
        return None
    detector = load_insight_faces(pack)
    return FaceEmbedder(detector, detector.name)


def _scores(evaluator: Evaluator, clip: Path) -> ClipScores:
    from tqdm import tqdm

    info = probe_video(clip)
    with tqdm(desc=clip.name, total=info.frames or None, unit="frame") as progress:
        return evaluator.score(
            _frames(clip, info), _masks(clip), name=str(clip), progress=lambda done: progress.update(done - progress.n)
        )


def _frames(clip: Path, info: VideoInfo) -> Iterator[Tensor]:
    """As `read_video`; raises ValueError at the end of one that was cut off."""
    count = 0
    for frame in read_video(clip):
        yield frame
        count += 1
    check_whole(clip, info, count)


def _masks(clip: Path) -> Iterator[Tensor] | None:
    """(H, W) of each frame, from the video of the clip's name and .mask beside it; None if there is none."""
    for suffix in sorted(CONTAINERS):
        file = clip.with_name(f"{clip.stem}{MASK}{suffix}")
        if file.is_file():
            return (frame.mean(-1) for frame in read_video(file))
    return None
