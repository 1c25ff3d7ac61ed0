"""The GPU kernels against PyTorch, and the noise against torch.compile too, at the sizes of SD1.5; needs a GPU.

Attention of the three widths, 2 clips in float16: as motion modules have them, three tensors with the positions first,
and as parts of one fused projection with the frames first, of which PyTorch's path has to make copies in another order.
Noise: a 512x512 clip in latents.
"""

import sys

import torch

from benchmarks.harness import alternating_medians, case, main
from vcd_core.kernels import ar1_scan, philox_ar1, temporal_attention

CLIPS, HEADS, GAMMA = 2, 8, 0.1
SIZES = ((320, 64), (640, 32), (1280, 16))  # channels, side of the latent
LATENT = (4, 64, 64)
ROUNDS, CALLS = 20, 20


def run() -> list[dict]:
    if not torch.cuda.is_available():
        print("SKIPPED benchmarks.kernels: it needs a GPU", file=sys.stderr)
        return []
    with torch.inference_mode():
        return [row for frames in (16, 32) for row in (*attention(frames), *noise(frames))]


def attention(frames: int) -> list[dict]:
    cases = []
    for channels, side in SIZES:
        fused = torch.randn(CLIPS * frames, side**2, 3 * channels, dtype=torch.float16, device="cuda")
        tokens = torch.randn(3, CLIPS * side**2 * frames, 1, channels, dtype=torch.float16, device="cuda")
        for layout, parts in (("positions first", tokens.unbind()), ("fused", fused.chunk(3, dim=-1))):
            ours, peer = (
                lambda parts=parts, backend=backend: temporal_attention(*parts, frames, HEADS, backend=backend)
                for backend in ("triton", "torch")
            )
            name = f"{channels}, {side}x{side}, {frames}, {layout}"
            cases.append(case(name, "s", *seconds(ours, peer), target=1.0))
    return cases


def noise(frames: int) -> list[dict]:
    white = torch.randn(frames, *LATENT, device="cuda")
    generator = torch.Generator("cuda").manual_seed(0)
    compiled = torch.compile(lambda: ar1_scan(white, GAMMA, backend="torch"))

    def ours():
        return ar1_scan(white, GAMMA, backend="triton")

    def drawn():
        return philox_ar1(white.shape, GAMMA, 0, device="cuda", backend="triton")

    def by_torch():
        return ar1_scan(white, GAMMA, backend="torch")

    def randn():
        noise = torch.empty_like(white)
        for frame in noise:
            torch.randn(*LATENT, generator=generator, device="cuda", out=frame)
        return ar1_scan(noise, GAMMA, in_place=True, backend="torch")

    return [
        case(f"AR(1) scan, {frames}", "s", *seconds(ours, by_torch), target=0.5),
        case(f"AR(1) scan, compiled, {frames}", "s", *seconds(ours, compiled), target=1.0),
        case(f"Philox AR(1), {frames}", "s", *seconds(drawn, randn), target=0.5),
    ]


def seconds(ours, peer) -> tuple[float, float]:
    """Of one call each, launched CALLS in a row."""

    def repeated(call):
        def calls():
            for _ in range(CALLS):
                call()
            torch.cuda.synchronize()

        return calls

    return tuple(total / CALLS for total in alternating_medians(repeated(ours), repeated(peer), ROUNDS))


if __name__ == "__main__":
    main("kernels", run)
