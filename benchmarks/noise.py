"""Correlated noise against torch.randn, and against the covariance matrix that the chain replaces.

Shapes are (F, C, H, W) = (F, 4, 64, 64), a 512x512 clip in latents.
"""

import math

import torch
from torch.distributions import MultivariateNormal

from benchmarks.harness import alternating_medians, case, main, peak_live_bytes
from vcd_core.noise import correlated_noise

GAMMA = 0.1
FRAME = (4, 64, 64)


def run() -> list[dict]:
    generator = torch.Generator().manual_seed(0)

    def ours(frames: int):
        return lambda: correlated_noise((frames, *FRAME), GAMMA, generator)

    def randn(frames: int):
        return lambda: torch.randn(frames, *FRAME, generator=generator)

    cases = []
    for frames, rounds in ((16, 400), (512, 40)):
        cases.append(
            case(f"randn, {frames} frames", "s", *alternating_medians(ours(frames), randn(frames), rounds), target=1.5)
        )
    cases.append(
        case(
            "multivariate, 512 frames", "s", *alternating_medians(ours(512), multivariate(512), rounds=3), target=1 / 20
        )
    )
    long, short = alternating_medians(ours(1024), ours(512), rounds=20)
    # Linear in frames: a frame of a long clip costs what a frame of a shorter one does. (Clips of 512 frames and more
    # are both fresh memory pages to the allocator, shorter ones are not.)
    cases.append(case("a frame of 1024 against one of 512", "s", long / 1024, short / 512, target=1.25))
    frame_bytes = 4 * math.prod(FRAME)
    extra = peak_live_bytes(ours(512)) / frame_bytes - 512
    # The limit is two frames besides the clip itself.
    cases.append(case("extra memory, 512 frames", "frames", extra, 2.0, target=1.0))
    return cases


def multivariate(frames: int):
    """Noise drawn with the frames' covariance matrix, as the released code of Magic-Me does."""
    frame = torch.arange(frames)
    covariance = GAMMA ** (frame[:, None] - frame[None, :]).abs()

    def draw():
        return MultivariateNormal(torch.zeros(frames), covariance).sample(FRAME).permute(3, 0, 1, 2)

    return draw


if __name__ == "__main__":
    main("noise", run)
