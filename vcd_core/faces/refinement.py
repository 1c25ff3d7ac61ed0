"""Faces drawn anew, one at a time, in a clip that streams through."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..noise import NoiseChain
from ..sampling.windows import spread_windows, window_shares
from .colour import colour_gains, with_gains
from .crops import CropOptions, CropPath, cut_out, mask_in_crop, mask_in_frame, put_back, share_of_face

WORKERS = min(4, os.cpu_count() or 1)  # threads, and frames that are put together at a time

Refine = Callable[[Tensor, Tensor, Tensor, float], Tensor]
"""`refine(clip, mask, noise, strength) -> clip`: clips (n, S, S, 3) in [0, 1]; mask (n, S, S) in [0, 1], 1 where to
draw anew; noise of the latents' shape, (n, 4, S/8, S/8) for Stable Diffusion; strength in (0, 1]. Bound to a model and
a prompt."""


@dataclass(frozen=True)
class RefineOptions:
    """How faces are drawn anew.

    Attributes:
        strength: how much of the denoising is done again, in [0, 1]; 0 leaves the clip as it is.
        gamma: correlation of neighbouring frames' noise.
        seed: of the noise; each face has a chain of its own.
        window: frames drawn together. Longer tracks are drawn in windows that overlap.
        overlap: frames that two windows share at least, in which one fades into the next.
        latent_channels, latent_factor: of the model's latents, and by how much they are smaller than the picture.
    """

    strength: float = 0.5
    gamma: float = 0.1
    seed: int = 0
    window: int = 16
    overlap: int = 4
    latent_channels: int = 4
    latent_factor: int = 8

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise ValueError(
                f"strength must lie in [0, 1] (0: unchanged, 1: faces from pure noise), not {self.strength}"
            )
        if not 0 <= self.overlap < self.window:
            raise ValueError(f"windows of {self.window} frames cannot overlap by {self.overlap}: overlap them by less")


@dataclass(frozen=True)
class FaceJob:
    """One face to be drawn anew: where it is, and by what."""

    path: CropPath
    refine: Refine


@dataclass(frozen=True)
class RefinedFrame:
    """A frame of the result.

    Attributes:
        image: (H, W, 3) in [0, 1]; where the mask is 0, the very values that came in.
        mask: (H, W) in [0, 1], how far it was drawn anew.
        faces: by the number of its job, each face in this frame.
    """

    image: Tensor
    mask: Tensor
    faces: dict[int, "_Face"]

    @property
    def crops(self) -> dict[int, tuple[Tensor, Tensor]]:
        """By the number of its job, each face as it was cut out and as it is put back, (S, S, 3)."""
        return {job: face.crops() for job, face in self.faces.items()}


def refine_faces(
    frames: Iterable[Tensor],
    jobs: Sequence[FaceJob],
    crop: CropOptions,
    options: RefineOptions,
    left_alone: Sequence[CropPath] = (),
) -> Iterator[RefinedFrame]:
    """Draws the faces of a clip anew; each frame comes out as soon as all its faces are done.

    No more frames are held than the windows that overlap them have, so a clip may be longer than memory. Where masks of
    two faces overlap, each is put back where it is nearer.

    Args:
        frames: (H, W, 3) float32 in [0, 1], in order; the paths' frame numbers count them.
        left_alone: of faces that stay as they are, also where they are nearer.

    Raises:
        ValueError: the clip ends before a path does.
    """
    windows = [
        window
        for number, job in enumerate(jobs)
        if options.strength > 0
        for window in _windows(number, job.path.frames, options)
    ]
    due: dict[int, list[_Window]] = defaultdict(list)
    ready: dict[int, int] = {}  # frame -> the frame after which nothing more happens to it
    for window in windows:
        due[window.span[-1]].append(window)
        for frame in window.span:
            ready[frame] = max(ready.get(frame, 0), window.span[-1])
    chains = [_noise_chain(options, number, crop.size) for number in range(len(jobs))]
    held: dict[int, Tensor] = {}
    drawn: dict[int, dict[int, _Face]] = defaultdict(dict)
    done = 0

    def finished(frame: int) -> RefinedFrame:
        faces = [(jobs[one].path, one, face) for one, face in sorted(drawn.pop(frame, {}).items())]
        others = [path for path in left_alone if frame in path.frames]
        return _with_faces(held.pop(frame), faces, others, frame, crop)

    with ThreadPoolExecutor(WORKERS) as pool:  # Pillow and NumPy let other threads run while they work
        for number, frame in enumerate(frames):
            held[number] = frame
            for window in due.pop(number, ()):
                job = jobs[window.job]
                before = _cut(job.path, window, held, drawn, crop.size, pool)
                for at, face in _drawn(job, window, before, chains[window.job], crop, options.strength):
                    faces = drawn[at]
                    faces[window.job] = face if window.job not in faces else faces[window.job].plus(face)
            end = done
            while end in held and ready.get(end, end) <= number:
                end += 1
            while done < end:  # a few at a time, which bounds what is held
                group = range(done, min(end, done + WORKERS))
                done = group.stop
                yield from pool.map(finished, group)
    if held:
        raise ValueError(f"the clip ended after {done + len(held)} frames, before its faces did: plan them anew")


def window_count(paths: Sequence[CropPath], options: RefineOptions) -> int:
    """How often `refine_faces` will call a `refine`."""
    if options.strength == 0:
        return 0
    return sum(len(_windows(number, path.frames, options)) for number, path in enumerate(paths))


@dataclass(frozen=True)
class _Window:
    """Frames of one job that are drawn together, and the share that each has in the result."""

    job: int
    span: range
    shares: np.ndarray


@dataclass(frozen=True)
class _Face:
    """A face in one frame: before, (S, S, 3) float32; what comes back and the gains that suit it (3,), by shares."""

    before: np.ndarray
    after: np.ndarray
    gains: np.ndarray

    def plus(self, other: "_Face") -> "_Face":
        return _Face(self.before, self.after + other.after, self.gains + other.gains)

    def crops(self) -> tuple[Tensor, Tensor]:
        """Before and after, (S, S, 3) each."""
        return torch.from_numpy(self.before), torch.from_numpy(with_gains(self.after, self.gains))


def _noise_chain(options: RefineOptions, number: int, size: int) -> NoiseChain:
    """One face's own."""
    seed = int(np.random.SeedSequence((options.seed, number)).generate_state(1, np.uint64)[0])
    side = size // options.latent_factor
    return NoiseChain((options.latent_channels, side, side), options.gamma, seed)


def _windows(job: int, frames: range, options: RefineOptions) -> list[_Window]:
    """Windows of one length, evenly spread over a track; one where it is no longer than that."""
    spans = spread_windows(len(frames), options.window, options.overlap)
    return [
        _Window(job, range(frames.start + span.start, frames.start + span.stop), share.astype(np.float32))
        for span, share in zip(spans, window_shares(spans, options.overlap), strict=True)
    ]


def _cut(
    path: CropPath,
    window: _Window,
    held: dict[int, Tensor],
    drawn: dict[int, dict[int, _Face]],
    size: int,
    pool: ThreadPoolExecutor,
) -> np.ndarray:
    """(n, S, S, 3) the crops of a window; those that it shares with the window before were cut for that."""

    def cut(frame: int) -> np.ndarray:
        if window.job in drawn.get(frame, {}):
            return drawn[frame][window.job].before
        return np.clip(cut_out(held[frame].numpy(), path, frame - path.first, size), 0, 1)

    return np.stack(list(pool.map(cut, window.span)))


def _drawn(
    job: FaceJob, window: _Window, before: np.ndarray, chain: NoiseChain, crop: CropOptions, strength: float
) -> Iterator[tuple[int, _Face]]:
    """What a window makes of its frames."""
    rows = [frame - job.path.first for frame in window.span]
    masks = np.stack([mask_in_crop(job.path, row, crop.size, crop) for row in rows])
    noise = chain.of(window.span)
    after = job.refine(torch.from_numpy(before), torch.from_numpy(masks), noise, strength).float().cpu().numpy()
    if not np.isfinite(after).all():
        raise ValueError("the model drew pixels that are not numbers: use a wider precision for it, or another VAE")
    gains = colour_gains(before, after, masks)
    for frame, old, new, gain, share in zip(window.span, before, after, gains, window.shares, strict=True):
        yield frame, _Face(old, share * new, share * gain)


def _with_faces(
    frame: Tensor,
    faces: Sequence[tuple[CropPath, int, _Face]],
    left_alone: Sequence[CropPath],
    number: int,
    crop: CropOptions,
) -> RefinedFrame:
    if not faces:
        return RefinedFrame(frame, torch.zeros(frame.shape[:2]), {})
    old, image = frame.numpy(), frame.numpy().copy()
    whole = np.zeros(image.shape[:2], np.float32)
    paths = [*(path for path, *_ in faces), *left_alone]
    for number_of_face, (path, _, face) in enumerate(faces):
        row = number - path.first
        mask, (x, y) = mask_in_frame(path, row, crop)
        if not mask.any():
            continue
        height, width = mask.shape
        others = [(one, number - one.first) for at, one in enumerate(paths) if at != number_of_face]
        mask = mask * share_of_face((path, row), others, (x, y), mask.shape)
        patch = with_gains(put_back(face.after, path, row, (x, y), (height, width)), face.gains)
        place = slice(y, y + height), slice(x, x + width)
        image[place] += np.where(mask[..., None] > 0, mask[..., None] * (patch - old[place]), 0)
        whole[place] += mask
    return RefinedFrame(torch.from_numpy(image), torch.from_numpy(whole), {job: face for _, job, face in faces})
