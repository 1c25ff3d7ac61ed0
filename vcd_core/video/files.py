"""Video files: frame by frame, so that none has to fit into memory; written whole or not at all."""

import errno
import io
import logging
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..files import unfinished_file

CONTAINERS = {".mp4", ".mov", ".mkv"}
DEFAULT_RATE = Fraction(25)
SLOWEST = 0.001  # frames a second, below which a fraction of small numbers is 0
FINEST_TIME = Fraction(1, 90000)  # seconds, where frames do not come evenly
UNSPECIFIED = 2  # colours of which a file says nothing, in the numbers of ITU-T H.273
MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}  # of H.273 -> those that the scaler knows
HIGH_DYNAMIC_RANGE = {16: "PQ", 18: "HLG"}


@dataclass(frozen=True)
class _Look:
    """What a player has to know to show a video's pixels as they were meant; numbers of ITU-T H.273.

    Attributes:
        matrix, primaries, transfer: of its colours.
        aspect: width of a pixel over its height; None for square ones.
    """

    matrix: int = UNSPECIFIED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    aspect: Fraction | None = None


@dataclass(frozen=True)
class VideoInfo:
    """What a video file says of itself.

    Attributes:
        height, width: as it is shown, so after turning.
        fps: frames a second, the mean where they do not come evenly.
        frames: how many there should be, without those that it says to skip; 0 where the file does not say.
        transparent: whether it has an alpha channel, which is not read.
    """

    height: int
    width: int
    fps: Fraction
    frames: int
    transparent: bool = False


def write_video(path: str | Path, frames: Tensor, fps: float) -> Path:
    """Writes a clip as H.264 (yuv420p) in an mp4 file, which every player and browser shows.

    yuv420p has one colour for 2x2 pixels, so a picture of odd height or width gets its last row or column twice.

    Args:
        frames: (F, H, W, 3) sRGB in [0, 1]; what lies outside is clamped.
        fps: frames a second; kept as an exact fraction, so 24000/1001 is possible.

    Raises:
        ValueError: no frames, another shape, numbers that are not finite, or an fps below SLOWEST.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or not frames.numel():
        raise ValueError(f"a clip must be (F, H, W, 3) with at least one frame, got {tuple(frames.shape)}")
    if not SLOWEST <= fps < float("inf"):
        raise ValueError(f"the frames a second must be {SLOWEST} or more, got {fps}")
    path = Path(path)
    rate = Fraction(fps).limit_denominator(1001)
    with unfinished_file(path) as unfinished:
        _encode(
            unfinished, ".mp4", ((frame, number / rate) for number, frame in enumerate(frames)), rate, _Look(), None
        )
    return path


def probe_video(path: str | Path) -> VideoInfo:
    """What is in a video file, without decoding more than its first frame.

    Raises:
        ValueError: no such file, or no video in it.
    """
    with _opened(path) as (container, stream):
        first = next(_decoded(path, container, stream), None)
        if first is None:
            raise ValueError(f"{path} has no frame that can be read: it is damaged")
        picture, _ = first
        transparent = any(channel.is_alpha for channel in stream.codec_context.format.components)
        return VideoInfo(*picture.shape[:2], _rate(stream), _count(stream), transparent)


def read_video(path: str | Path) -> Iterator[Tensor]:
    """The frames of a video file one by one, (H, W, 3) float32 in [0, 1], turned as the file says.

    Raises:
        ValueError: no such file, no video in it, or it breaks off before its first frame.
    """
    with _opened(path) as (container, stream):
        for picture, _ in _decoded(path, container, stream):
            yield picture


def check_whole(path: str | Path, info: VideoInfo, count: int) -> None:
    """Raises ValueError if `count` frames were read of a video file that should have more, as one that was cut off."""
    if count < info.frames:
        raise ValueError(
            f"of {info.frames} frames that {path} should have {count} are there: it is damaged, copy or make it again"
        )


def convert_video(
    source: str | Path, target: str | Path, change: Callable[[Iterator[Tensor]], Iterable[Tensor]]
) -> Path:
    """Writes a video whose pictures are changed and whose sound and timing are the source's.

    Frames are handed through one by one. The sound is copied packet by packet, not encoded again; one that the
    target's container cannot hold is left out, with a warning. Frames keep their times, even ones that do not come
    evenly, and their colours and the shape of their pixels what they mean. Before, the source's packets are looked
    through once, without decoding them.

    Args:
        source: any video file that PyAV reads.
        target: .mp4, .mov or .mkv; replaced when everything is done, and not before.
        change: takes the frames, (H, W, 3) float32 in [0, 1], and gives as many, of any one size.

    Raises:
        ValueError: from reading; another ending; the target is the source; high dynamic range, which H.264 of 8 bits
            cannot hold; or `change` gives fewer or more frames than came, or numbers that are not finite.
    """
    source, target = Path(source), Path(target)
    if target.suffix.lower() not in CONTAINERS:
        raise ValueError(f"{target} must end in one of {', '.join(sorted(CONTAINERS))}")
    check_not_itself(source, target)
    waiting: deque[Fraction] = deque()  # when the frames are shown that went in and have not come out
    with unfinished_file(target) as unfinished, _opened(source) as (container, stream):

        def pictures() -> Iterator[Tensor]:
            for picture, time in _decoded(source, container, stream):
                waiting.append(time)
                yield picture

        def timed() -> Iterator[tuple[Tensor, Fraction]]:
            for frame in change(pictures()):
                if not waiting:
                    raise ValueError("more frames came back than went in")
                yield frame, waiting.popleft()
            if waiting:
                raise ValueError(f"{len(waiting)} frames did not come back")

        _encode(unfinished, target.suffix.lower(), timed(), _rate(stream), _look_of(source, container, stream), source)
    return target


def check_not_itself(source: Path, target: Path) -> None:
    """Raises ValueError if a video would be replaced by what is made of it."""
    if target.exists() and source.samefile(target):
        raise ValueError(f"{target} is the video itself, which would be lost: choose another name")


def copy_video(source: str | Path, target: str | Path) -> Path:
    """The same video under another name: byte for byte, or where the ending differs, its pictures encoded again."""
    source, target = Path(source), Path(target)
    check_not_itself(source, target)
    if source.suffix.lower() != target.suffix.lower():
        return convert_video(source, target, lambda frames: frames)
    with unfinished_file(target) as unfinished:
        shutil.copyfile(source, unfinished)
    return target


def _encode(
    path: Path,
    suffix: str,
    frames: Iterable[tuple[Tensor, Fraction]],
    rate: Fraction,
    look: _Look,
    source: Path | None,
) -> None:
    """Encodes frames and the seconds at which they are shown; copies the sound of the file that they came from."""
    import av

    kind = {".mkv": "matroska"}.get(suffix, suffix[1:])
    with _refusal_said(), ExitStack() as files:
        even = source is None or _is_even(source, rate)
        sounds = [] if source is None else _sounds_for(kind, source)
        container = files.enter_context(av.open(str(path), "w", format=kind))
        stream = container.add_stream("libx264", rate=rate, options={"crf": "16"})
        codec, unit = stream.codec_context, 1 / rate if even else FINEST_TIME
        stream.pix_fmt, codec.time_base = "yuv420p", unit
        codec.colorspace, codec.color_primaries, codec.color_trc = look.matrix, look.primaries, look.transfer
        if look.aspect is not None:
            codec.sample_aspect_ratio = look.aspect
        sound = _sound(container, files, source, sounds)
        packet, last = next(sound, None), None
        for number, (frame, time) in enumerate(frames):
            pixels = _even_sides(frame)
            if number == 0:
                stream.height, stream.width = pixels.shape[:2]
            shown = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if look.matrix in MATRICES:
                shown = shown.reformat(format="yuv420p", dst_colorspace=MATRICES[look.matrix])
            pts = round(time / unit)
            if last is not None:  # times rise; even ones by one, so that rounding them makes no two equal
                pts = last + 1 if even else max(pts, last + 1)
            shown.time_base, shown.pts, last = unit, pts, pts
            container.mux(stream.encode(shown))
            while packet is not None and packet.dts * packet.time_base <= time:
                container.mux(packet)
                packet = next(sound, None)
        container.mux(stream.encode())
        while packet is not None:
            container.mux(packet)
            packet = next(sound, None)


@contextmanager
def _refusal_said() -> Iterator[None]:
    """Turns what FFmpeg refuses to write into a ValueError, a full disk into an OSError."""
    import av

    try:
        yield
    except av.FFmpegError as error:
        if error.errno == errno.ENOSPC:
            raise OSError(
                error.errno, f"the video cannot be written ({error.strerror}): make room on the disk"
            ) from error
        raise ValueError(f"the video cannot be written as H.264 ({error.strerror}): try a smaller picture") from error


def _sounds_for(kind: str, source: Path) -> list[int]:
    """The numbers of those of a file's sounds that a kind of container can hold; a warning for each other."""
    import av

    fitting = []
    with av.open(str(source)) as container:
        for number, stream in enumerate(container.streams.audio):
            try:
                with av.open(io.BytesIO(), "w", format=kind) as trial:
                    trial.add_stream_from_template(stream)
                    trial.start_encoding()
            except (av.FFmpegError, ValueError) as error:
                codec = stream.codec_context.name if stream.codec_context else "of an unknown codec"
                logging.warning("the sound (%s) of %s is left out: .%s cannot hold it (%s)", codec, source, kind, error)
            else:
                fitting.append(number)
    return fitting


def _sound(container, files: ExitStack, source: Path | None, numbers: list[int]) -> Iterator:
    """The packets of these of a file's sounds, for streams that this adds to the container."""
    import av

    if not numbers:
        return iter(())
    opened = files.enter_context(av.open(str(source)))
    streams = {opened.streams.audio[number]: None for number in numbers}
    streams = {stream: container.add_stream_from_template(stream) for stream in streams}

    def packets() -> Iterator:
        for packet in opened.demux(list(streams)):
            if packet.dts is not None:
                packet.stream = streams[packet.stream]
                yield packet

    return packets()


def _look_of(path: Path, container, stream) -> _Look:
    codec = stream.codec_context
    if codec.color_trc in HIGH_DYNAMIC_RANGE:
        raise ValueError(
            f"{path} is in high dynamic range ({HIGH_DYNAMIC_RANGE[codec.color_trc]}), which would be lost: convert it "
            "to standard dynamic range first"
        )
    aspect = stream.sample_aspect_ratio or None
    if aspect is not None and _turns(next(container.decode(stream))) % 2:
        aspect = 1 / aspect
    container.seek(0)
    return _Look(codec.colorspace, codec.color_primaries, codec.color_trc, None if aspect == 1 else aspect)


def _turns(frame) -> int:
    """By how many quarters a frame is to be turned counter-clockwise."""
    return round(frame.rotation / 90)


def _even_sides(frame: Tensor) -> np.ndarray:
    """(H, W, 3) uint8 of even height and width, the last row and column twice where need be.

    Raises:
        ValueError: numbers that are not finite.
    """
    if not torch.isfinite(frame).all():
        raise ValueError("the clip has pixels that are not numbers: use a wider precision for the model")
    height, width = frame.shape[:2]
    pixels = (frame.clamp(0, 1) * 255).round().byte().cpu().numpy()
    return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple]:
    """A container and its first video stream."""
    import av

    if not Path(path).is_file():
        raise ValueError(f"there is no file {path}: check the name")
    try:
        container = av.open(str(path))
    except av.FFmpegError as error:
        raise ValueError(f"{path} is no video that can be read ({error.strerror}): check that it plays") from error
    with container:
        if not container.streams.video:
            raise ValueError(f"{path} has no picture in it, only sound: give a video")
        if container.format.name.endswith("_pipe") or container.format.name == "image2":
            raise ValueError(f"{path} is a picture: give a video")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        yield container, stream


def _decoded(path: str | Path, container, stream) -> Iterator[tuple[Tensor, Fraction]]:
    """Frames and the seconds at which they are shown."""
    import av

    number, time = 0, Fraction(0)
    frames = container.decode(stream)
    while True:
        try:
            frame = next(frames, None)
        except av.FFmpegError as error:
            raise ValueError(f"{path} breaks off after {number} frames ({error.strerror}): it is damaged") from error
        if frame is None:
            return
        pixels = np.rot90(frame.to_ndarray(format="rgb24"), _turns(frame))
        time = time + 1 / _rate(stream) if frame.pts is None else frame.pts * frame.time_base
        yield torch.from_numpy(pixels.astype(np.float32) / 255), time
        number += 1


def _rate(stream) -> Fraction:
    return stream.average_rate or stream.guessed_rate or DEFAULT_RATE


def _count(stream) -> int:
    """Of its frames, those of the time that is shown: an mp4's edit list can leave out some at either end."""
    if not stream.duration:
        return stream.frames
    return min(stream.frames, round(stream.duration * stream.time_base * _rate(stream)))


def _is_even(path: Path, rate: Fraction) -> bool:
    """Whether a file's frames come evenly, by the times of its packets alone."""
    with _opened(path) as (container, stream):
        times = sorted(packet.pts * packet.time_base for packet in container.demux(stream) if packet.pts is not None)
    start = times[0] if times else 0
    return all(abs((time - start) * rate - number) < 0.5 for number, time in enumerate(times))
