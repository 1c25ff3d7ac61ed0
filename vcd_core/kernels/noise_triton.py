"""Correlated noise as Triton kernels. Only imported where they are to be compiled or interpreted."""

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["frames", "size", "gamma", "innovation"])
def ar1_kernel(white, previous, out, frames, size, gamma, innovation, CONTINUES: tl.constexpr, BLOCK: tl.constexpr):
    """out_t = γ out_{t−1} + innovation · white_t for BLOCK values of a frame, all frames; `out` may be `white`.

    Rounds where PyTorch's mul_ and add_(alpha=γ) round, so the result is theirs to the bit.
    """
    dtype = out.dtype.element_ty
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < size
    if CONTINUES:
        last = tl.load(previous + place, mask=inside).to(tl.float32)
        start = 0
    else:
        last = tl.load(white + place, mask=inside).to(tl.float32)
        tl.store(out + place, last.to(dtype), mask=inside)
        start = 1
    place += start * size
    upcoming = tl.load(white + place, mask=inside & (start < frames))
    for frame in range(start, frames):
        fresh = upcoming
        upcoming = tl.load(
            white + place + size, mask=inside & (frame + 1 < frames)
        )  # under way while this frame is made
        scaled = (fresh.to(tl.float32) * innovation).to(dtype).to(tl.float32)
        last = tl.fma(last, gamma, scaled).to(dtype).to(tl.float32)
        tl.store(out + place, last.to(dtype), mask=inside)
        place += size


@triton.jit
def _normals(first, second):
    """Two normals of two words (Box-Muller), the first word as a float in (0, 1], the second in [0, 1]."""
    radius = tl.sqrt(-2.0 * tl.log(first.to(tl.float32) * 2.3283064365386963e-10 + 2.3283064365386963e-10))
    angle = second.to(tl.float32) * (6.283185307179586 * 2.3283064365386963e-10)
    return radius * tl.cos(angle), radius * tl.sin(angle)


@triton.jit(do_not_specialize=["seed", "first_frame", "frames", "size", "gamma", "innovation"])
def philox_ar1_kernel(
    previous, out, seed, first_frame, frames, size, gamma, innovation, CONTINUES: tl.constexpr, BLOCK: tl.constexpr
):
    """The same chain of white noise that is made here: word j of Philox4x32-10 at counter (i, frame, 0, 0) makes the
    value at place i + j·⌈size/4⌉ of a frame. One program makes BLOCK places of each quarter."""
    quarter = tl.cdiv(size, 4)
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    zero = index * 0
    place = index.to(tl.int64)
    a, b, c, d = index < quarter, place + quarter < size, place + 2 * quarter < size, place + 3 * quarter < size
    b, c, d = a & b, a & c, a & d
    start = 0
    if CONTINUES:
        last_a = tl.load(previous + place, mask=a)
        last_b = tl.load(previous + place + quarter, mask=b)
        last_c = tl.load(previous + place + 2 * quarter, mask=c)
        last_d = tl.load(previous + place + 3 * quarter, mask=d)
    else:
        words = tl.philox(seed, index, zero + first_frame, zero, zero)
        last_a, last_b = _normals(words[0], words[1])
        last_c, last_d = _normals(words[2], words[3])
        tl.store(out + place, last_a, mask=a)
        tl.store(out + place + quarter, last_b, mask=b)
        tl.store(out + place + 2 * quarter, last_c, mask=c)
        tl.store(out + place + 3 * quarter, last_d, mask=d)
        start = 1
    place += start * size
    for frame in range(start, frames):
        words = tl.philox(seed, index, zero + (first_frame + frame), zero, zero)
        fresh_a, fresh_b = _normals(words[0], words[1])
        fresh_c, fresh_d = _normals(words[2], words[3])
        last_a = tl.fma(last_a, gamma, fresh_a * innovation)
        last_b = tl.fma(last_b, gamma, fresh_b * innovation)
        last_c = tl.fma(last_c, gamma, fresh_c * innovation)
        last_d = tl.fma(last_d, gamma, fresh_d * innovation)
        tl.store(out + place, last_a, mask=a)
        tl.store(out + place + quarter, last_b, mask=b)
        tl.store(out + place + 2 * quarter, last_c, mask=c)
        tl.store(out + place + 3 * quarter, last_d, mask=d)
        place += size
