"""What tiles cost beside the denoising of each, and whether memory is that of one tile.

Time: the demo model's denoising, with guidance, of a canvas in tiles of 128 pixels, against the same tiles denoised one
by one and thrown away. Memory: the peak beside the clip's own x0, with a stand-in that allocates what one layer of
Stable Diffusion 1.5 does for a tile and nothing else: 320 channels at the latents' size, twice.
"""

from pathlib import Path

import torch
from torch import Tensor

from benchmarks.harness import alternating_medians, case, main, peak_live_bytes
from vcd_core.sampling import classifier_free_guidance
from vcd_core.standalone.demo_model import load_demo_model
from vcd_core.standalone.pipeline import VAE_FACTOR
from vcd_core.tiles import Cut, Tile, TilePlan, tiled

WEIGHTS = Path(__file__).parents[1] / "demo/weights"
FRAMES, TILE, OVERLAP, ROUNDS = 8, 128 // VAE_FACTOR, 32 // VAE_FACTOR, 5
SIGMA = torch.tensor(2.0)


def clip(frames: int, side: int) -> Tensor:
    """Latents of a square canvas of so many pixels."""
    return torch.randn(frames, 4, side // VAE_FACTOR, side // VAE_FACTOR, generator=torch.Generator().manual_seed(0))


def cut(x: Tensor, tile: int, overlap: int, window: int = 0, shared: int = 0) -> TilePlan:
    return TilePlan((len(x), *x.shape[2:]), Cut(window, shared), Cut(tile, overlap), Cut(tile, overlap))


@torch.no_grad()
def seconds(side: int) -> tuple[float, float]:
    """Of one step over a canvas, and of its tiles by themselves."""
    model = load_demo_model(WEIGHTS)
    denoise = classifier_free_guidance(
        model.denoiser(model.encode_pieces(["a photo of a woman"])), model.denoiser(model.encode_pieces([""])), 5.0
    )
    x = clip(FRAMES, side)
    plan = cut(x, TILE, OVERLAP)
    parts = [tile.of(x).contiguous() for tile in plan]

    def alone() -> None:
        for part in parts:
            denoise(part, SIGMA)

    together = tiled(lambda part, sigma, _tile: denoise(part, sigma), plan)
    return alternating_medians(lambda: together(x, SIGMA), alone, ROUNDS)


def one_layer(x: Tensor, sigma: Tensor, tile: Tile) -> Tensor:
    _layers = [torch.empty(len(x), 320, *x.shape[2:]) for _ in range(2)]
    return x.clone()


def beside_the_clip(frames: int, side: int) -> float:
    """MiB, in tiles of 512 pixels and windows of 16 frames."""
    x = clip(frames, side)
    together = tiled(one_layer, cut(x, 512 // VAE_FACTOR, 64 // VAE_FACTOR, 16, 4))
    return (peak_live_bytes(lambda: together(x, SIGMA)) - x.numel() * 4) / 2**20


def run() -> list[dict]:
    cases = [case(f"overhead canvas {side}", "s", *seconds(side), 1.05) for side in (128, 256, 512)]
    reference = beside_the_clip(16, 512)
    cases += [
        case(f"memory canvas {side}, of 512", "MiB", beside_the_clip(16, side), reference, 1.1) for side in (1024, 2048)
    ]
    cases += [
        case(f"memory {frames} frames, of 16", "MiB", beside_the_clip(frames, 512), reference, 1.1)
        for frames in (64, 128)
    ]
    return cases


if __name__ == "__main__":
    main("tiles", run)
