"""Temporal attention as a Triton kernel. Only imported where it is to be compiled or interpreted."""

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["frames", "heads", "positions"])
def temporal_attention_kernel(
    q,
    k,
    v,
    visible,
    out,
    frames,
    heads,
    positions,
    q_image,
    q_position,
    k_image,
    k_position,
    v_image,
    v_position,
    out_image,
    out_position,
    visible_clip,
    visible_frame,
    scale,
    WIDTH: tl.constexpr,
    TILE_FRAMES: tl.constexpr,
    TILE_WIDTH: tl.constexpr,
    MASKED: tl.constexpr,
):
    """softmax(q kᵀ / √d) v over the frames of one position and head: one program each.

    Rows of q, k, v and out are (head, width) at strides *_image from frame to frame and *_position from position to
    position. `scale` is log2(e)/√d. All frames are one tile of TILE_FRAMES >= frames; the WIDTH features of a head are
    taken TILE_WIDTH at a time, so that widths other than powers of two waste little.
    """
    program = tl.program_id(0).to(tl.int64)
    head = program % heads
    position = program // heads % positions
    clip = program // heads // positions
    image = clip * frames

    rows = tl.arange(0, TILE_FRAMES)
    columns = tl.arange(0, TILE_WIDTH)
    exists = rows < frames
    q += image * q_image + position * q_position + head * WIDTH
    k += image * k_image + position * k_position + head * WIDTH
    v += image * v_image + position * v_position + head * WIDTH
    out += image * out_image + position * out_position + head * WIDTH

    scores = tl.zeros((TILE_FRAMES, TILE_FRAMES), tl.float32)
    for start in tl.static_range(0, WIDTH, TILE_WIDTH):
        features = start + columns
        inside = exists[:, None] & (features < WIDTH)[None, :]
        queries = tl.load(q + rows[:, None] * q_image + features[None, :], mask=inside, other=0.0)
        keys = tl.load(k + rows[:, None] * k_image + features[None, :], mask=inside, other=0.0)
        scores = tl.dot(queries, tl.trans(keys), scores, input_precision="tf32x3")

    seen = exists
    if MASKED:
        seen = seen & (tl.load(visible + clip * visible_clip + rows * visible_frame, mask=exists, other=0) != 0)
    scores = tl.where(seen[None, :], scores * scale, float("-inf"))
    weights = tl.where(seen[None, :], tl.exp2(scores - tl.max(scores, 1)[:, None]), 0.0)
    total = tl.sum(weights, 1)
    total = tl.where(total == 0.0, 1.0, total)
    weights = weights.to(v.dtype.element_ty)

    for start in tl.static_range(0, WIDTH, TILE_WIDTH):
        features = start + columns
        inside = exists[:, None] & (features < WIDTH)[None, :]
        values = tl.load(v + rows[:, None] * v_image + features[None, :], mask=inside, other=0.0)
        attended = tl.dot(weights, values, input_precision="tf32x3") / total[:, None]
        tl.store(out + rows[:, None] * out_image + features[None, :], attended.to(out.dtype.element_ty), mask=inside)
