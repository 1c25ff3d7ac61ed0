"""What Face VCD costs beside its detector and its drawing: tracking, cutting out, putting back, matching light.

A face of 160x210 pixels moves through 640x360; a stand-in says where it is, and another gives the crops back a little
darker. The reference is 30 frames a second. Memory is the peak of a process of its own while a clip streams through it,
of 400 frames against 100.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.harness import case, main
from vcd_core.faces import CropOptions, FaceJob, InOrder, RefineOptions, find_faces, plan_faces, refine_faces
from vcd_core.vision import Face

HEIGHT, WIDTH = 360, 640
REFERENCE = 1 / 30  # seconds a frame
FRAMES, ROUNDS = 120, 3
CROP, OPTIONS = CropOptions(), RefineOptions()


def film(frames: int) -> Iterator[Tensor]:
    """A texture that goes round, frame by frame."""
    texture = torch.rand(1, 3, HEIGHT // 8, WIDTH // 8, generator=torch.Generator().manual_seed(0))
    picture = torch.nn.functional.interpolate(texture, scale_factor=8, mode="bilinear")[0].movedim(0, -1)
    for t in range(frames):
        yield picture.roll(2 * t, 1).contiguous()


def faces(frames: int) -> InOrder:
    """Shaking a little, so that smoothing has something to do."""
    shakes = torch.randn(frames, 2, generator=torch.Generator().manual_seed(1)) * 2
    boxes = [(180 + t % 200 + float(x), 80 + float(y)) for t, (x, y) in enumerate(shakes)]
    return InOrder([[Face((x, y, x + 160, y + 210), 0.9)] for x, y in boxes])


def darker(clip: Tensor, mask: Tensor, noise: Tensor, strength: float) -> Tensor:
    return clip * 0.97


def pass_through(frames: int) -> None:
    """Both looks at the clip."""
    plan = plan_faces(find_faces(film(frames), faces(frames)), CROP)
    jobs = [FaceJob(path, darker) for path in plan.paths]
    assert sum(1 for _ in refine_faces(film(frames), jobs, CROP, OPTIONS)) == frames


def seconds_a_frame() -> float:
    """The median of some rounds; drawing the film is taken off."""
    pass_through(OPTIONS.window)
    measured = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(2):
            for _frame in film(FRAMES):
                pass
        drawn = time.perf_counter()
        pass_through(FRAMES)
        measured.append(time.perf_counter() - drawn - (drawn - start))
    return sorted(measured)[ROUNDS // 2] / FRAMES


def peak(frames: int) -> int:
    """Bytes that a process of its own had in memory at most."""
    code = f"from benchmarks.faces import measure_peak; print(measure_peak({frames}))"
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def measure_peak(frames: int) -> int:
    pass_through(frames)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run() -> list[dict]:
    mebibyte = 2**20
    return [
        case("overhead 640x360, 30 frames a second", "s", seconds_a_frame(), REFERENCE, 1.0),
        case("memory 400 frames, of 100", "MiB", peak(400) / mebibyte, peak(100) / mebibyte, 1.05),
    ]


if __name__ == "__main__":
    main("faces", run)
