"""Writes docs/kernels.md, what the GPU kernels move, compute and compile to: `python scripts/kernel_table.py`.

--figures-only keeps the table of registers that is there, which takes the compiler some minutes.
"""

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from kernel_resources import (  # noqa: E402
    ATTENTION_TARGETS,
    ATTENTION_VARIANTS,
    NOISE_TARGETS,
    NOISE_VARIANTS,
    attention_resources,
    noise_resources,
)

from vcd_core.kernels.attention import kernel_sizes  # noqa: E402
from vcd_core.motion.transformer import positions_per_chunk  # noqa: E402

PAGE = ROOT / "docs/kernels.md"

# Stable Diffusion 1.5 at 512x512, both halves of classifier-free guidance, float16.
CLIPS, HEADS, HALF, FLOAT = 2, 8, 2, 4
LEVELS = ((320, 64), (640, 32), (1280, 16), (1280, 8))  # channels, side of the latents
ATTENTIONS = 10  # of a level: five temporal transformers of two attentions each
LATENT = 4 * 64 * 64
# FlashAttention-2's tiles: queries, and by the width that heads are rounded up to, keys.
FLASH_QUERIES, FLASH_KEYS = 128, {64: 128, 96: 64, 160: 32}
# Operations a value: ten rounds of Philox, 16 integer operations each, for four; Box-Muller, about 20, for two.
DRAWING = 160 / 4 + 20 / 2


MEASURED = """\
On an H100 80GB HBM3 with torch 2.11 and Triton 3.6. `python -m benchmarks.kernels` measures calls from Python anywhere.

The GPU's time alone (CUDA graphs) in µs, of the sizes below. Attention with the positions first, float16; the sizes of
8x8 were measured before the kernel took 64 features at a time, which made the others 5 to 25 % faster:

| kernel | 16 frames: ours / PyTorch | 32 frames: ours / PyTorch |
|---|---|---|
| temporal attention, 320 channels, 64x64 | 120 / 1012, 8.5x | 231 / 1018, 4.4x |
| temporal attention, 640 channels, 32x32 | 60 / 341, 5.6x | 120 / 342, 2.8x |
| temporal attention, 1280 channels, 16x16 | 35 / 138, 3.9x | 65 / 146, 2.3x |
| temporal attention, 1280 channels, 8x8 | 5.6 / 40, 7.2x | 15 / 44, 3.0x |
| AR(1) scan | 3.7 / 42, 11x | 6.5 / 87, 13x |

A plain copy moved 2.4 TB/s there, attention over 16 frames of 320 channels 2.8. PyTorch's attention took 2.9 to 6.6
times its bound. Called from Python, noise took 0.03 ms against 0.23 and 0.44 (scan) and 0.36 and 0.71 (Philox), where
torch.compile's scan took 0.16.

A whole step of sampling, SD1.5's size, 512x512, float16, guidance, both packs' nodes called in one process of ComfyUI
0.33, medians of three in turn:

| frames | ours | ours, `VCD_KERNELS=torch` | AnimateDiff-Evolved | ours over its | memory |
|---|---|---|---|---|---|
| 16 | 0.171 s | 0.178 s | 0.185 s | 0.92 | 5.6 GiB, the same |
| 32 | 0.313 s | 0.324 s | 0.345 s | 0.91 | 7.7 GiB, the same |

With so little memory left that ComfyUI held 44 of the motion module's 867 MiB and none of the UNet's on the GPU, the
clip was the same up to float16's rounding, with a peak of 2.2 GiB."""


@dataclass(frozen=True)
class Gpu:
    """Published peaks: bytes and operations a second, dense float16 products summed in float32, and float32."""

    name: str
    bandwidth: float
    tensor: float
    scalar: float


GPUS = (Gpu("RTX 4090", 1008e9, 165.2e12, 82.6e12), Gpu("H100 SXM", 3350e9, 989.4e12, 66.9e12))


@dataclass(frozen=True)
class Work:
    """What one way of computing something moves through memory, computes and launches."""

    bytes: float
    operations: float
    launches: int
    tensor_cores: bool

    def bound(self, gpu: Gpu) -> float:
        """Seconds that it cannot take less than."""
        return max(self.bytes / gpu.bandwidth, self.operations / (gpu.tensor if self.tensor_cores else gpu.scalar))

    def __mul__(self, times: int) -> "Work":
        return Work(self.bytes * times, self.operations * times, self.launches * times, self.tensor_cores)


def attention(channels: int, side: int, frames: int) -> tuple[Work, Work]:
    """Ours and PyTorch's temporal attention of a level, in the chunks of positions that motion modules hand over.

    Both read q, k, v and write the result, once.
    """
    width, programs = channels // HEADS, CLIPS * side**2 * HEADS
    moved = 4 * CLIPS * frames * side**2 * channels * HALF
    sizes = kernel_sizes(frames, width, torch.float16)
    ours = 4 * sizes["TILE_FRAMES"] ** 2 * _rounded_up(width, sizes["TILE_WIDTH"])
    flash_width, keys = next((wide, keys) for wide, keys in FLASH_KEYS.items() if wide >= width)
    flash = 4 * FLASH_QUERIES * _rounded_up(frames, keys) * flash_width
    tokens = torch.empty(CLIPS, side**2, frames, channels, dtype=torch.float16, device="meta")
    chunks = math.ceil(side**2 / positions_per_chunk(tokens))
    return Work(moved, programs * ours, chunks, True), Work(moved, programs * flash, chunks, True)


def scan(frames: int) -> tuple[Work, Work]:
    """Ours reads and writes once; PyTorch copies, then scales (2 passes) and adds (3) every frame but the first."""
    values = frames * LATENT
    later = values - LATENT
    ours = Work(2 * values * FLOAT, 3 * later, 1, False)
    return ours, Work((2 * values + 5 * later) * FLOAT, 3 * later, 1 + 2 * (frames - 1), False)


def drawing(frames: int) -> tuple[Work, Work]:
    """Ours writes once; PyTorch draws frame by frame, then chains in place."""
    values = frames * LATENT
    later = values - LATENT
    operations = DRAWING * values + 3 * later
    ours = Work(values * FLOAT, operations, 1, False)
    return ours, Work((values + 5 * later) * FLOAT, operations, frames + 2 * (frames - 1), False)


def rows(frames: int) -> list[tuple[str, list[Work], list[Work]]]:
    """What is done, and the parts of ours and of PyTorch's way, one after the other."""
    levels = [attention(*level, frames) for level in LEVELS]
    found = [
        (f"temporal attention, {channels} channels, {side}x{side}", [ours], [theirs])
        for (channels, side), (ours, theirs) in zip(LEVELS, levels, strict=True)
    ]
    ours, theirs = zip(*levels, strict=True)
    step = ([work * ATTENTIONS for work in way] for way in (ours, theirs))
    found.append(("temporal attention, a step of the UNet", *step))
    for name, (ours, theirs) in (
        ("AR(1) scan", scan(frames)),
        ("Philox AR(1), against randn and the loop", drawing(frames)),
    ):
        found.append((name, [ours], [theirs]))
    return found


def figures() -> str:
    lines = [
        "| kernel | frames | MB moved: ours / PyTorch | GFLOP: ours / PyTorch | launches |"
        + "".join(f" {gpu.name}, at least |" for gpu in GPUS),
        "|---|---|---|---|---|" + "---|" * len(GPUS),
    ]
    for frames in (16, 32):
        for name, *ways in rows(frames):
            cells = [name, str(frames)]
            for count, unit in (("bytes", 1e6), ("operations", 1e9)):
                cells.append(" / ".join(_short(sum(getattr(work, count) for work in way) / unit) for way in ways))
            cells.append(" / ".join(str(sum(work.launches for work in way)) for way in ways))
            for gpu in GPUS:
                fast, slow = (sum(work.bound(gpu) for work in way) * 1e6 for way in ways)
                cells.append(f"{_short(fast)} / {_short(slow)} µs, {slow / fast:.1f}x")
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def registers() -> str:
    import triton

    lines = [
        f"Triton {triton.__version__}. Registers a thread / bytes spilled / bytes of shared memory a program.",
        "",
        "| kernel |" + "".join(f" sm_{target} |" for target in NOISE_TARGETS),
        "|---|" + "---|" * len(NOISE_TARGETS),
    ]
    for dtype, width, frames in ATTENTION_VARIANTS:
        found = [_cell(attention_resources(dtype, width, frames, target)) for target in ATTENTION_TARGETS]
        lines.append(
            f"| temporal attention, {dtype}, heads of {width}, {frames} frames | PyTorch | {' | '.join(found)} |"
        )
    for name, dtype in NOISE_VARIANTS:
        found = [_cell(noise_resources(name, dtype, target)) for target in NOISE_TARGETS]
        lines.append(f"| {name}, {dtype} | {' | '.join(found)} |")
    return "\n".join(lines)


def _cell(found) -> str:
    return f"{found.registers} / {found.spilled} / {found.shared}"


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.2g}"


def _rounded_up(value: int, step: int) -> int:
    return math.ceil(value / step) * step


def page(compiled: str) -> str:
    return f"""# GPU kernels

`vcd_core/kernels` holds three Triton kernels, each with the same computation in PyTorch. A kernel runs on NVIDIA GPUs
from Ampere on (noise: from Turing on) where Triton is installed and no gradient is wanted; PyTorch runs everywhere
else, where a kernel fails, where its first result is not PyTorch's, and where its registers spill. `VCD_KERNELS=torch`
in the environment leaves all to PyTorch. On the CPU nothing differs.

## What they save, as measured

{MEASURED}

## What they save, as predicted

From shapes and from the GPUs' published peaks: bounds for tensors that the caches do not hold (those of 8x8 they do).

SD1.5 at 512x512; attention of {CLIPS} clips (guidance) in float16, noise of one clip in float32. Moved is what must
cross memory at least: of tokens with the positions first, as motion modules have them, PyTorch's attention reads q, k
and v where they lie, too, so neither copies (parts of a fused projection with the frames first it would copy). It
computes more: FlashAttention-2 works on tiles of {FLASH_QUERIES} queries and 128, 64 or 32 keys (for heads of 40, 80
and 160), of which 16 frames fill little. A lower bound is the longer of moving and computing; launches of about 5 µs
each come on top, and are most of what noise takes. Motion modules bound their memory by chunks of positions, each a
launch of its own.

{figures()}

## What they compile to

Without a GPU, by `python scripts/kernel_table.py`; a test holds that nothing is spilled.

{compiled}

For Turing (sm_75) Triton makes no tensor-core code of the attention. With scalar products, at the same sizes, it took
168 and more of each thread's registers for heads of 40, and all 255 for heads of 160, where bfloat16 spilled 472
bytes and float32 8. So PyTorch's attention runs there.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figures-only", action="store_true", help="keep the table of registers that is there")
    keep = parser.parse_args().figures_only
    compiled = section(PAGE.read_text(encoding="utf-8")) if keep else registers()
    PAGE.write_text(page(compiled), encoding="utf-8")


def section(text: str) -> str:
    """The table of registers in a page that was written before."""
    return text[text.index("Triton ", text.index("## What they compile to")) : text.index("\n\nFor Turing")]


if __name__ == "__main__":
    main()
