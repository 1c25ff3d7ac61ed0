"""Attention over the frames of a clip, at every image position separately."""

import math
from functools import partial

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from .choice import Backend, try_kernel

# Ampere: for Turing's tensor cores Triton makes no code, and without them the registers of wide heads spill.
OLDEST_GPU = (8, 0)
MAX_FRAMES = 32
MAX_WIDTH = 160
FARTHEST = 2**31  # elements between the first and the last frame of a clip: the kernel counts them in int32
DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def temporal_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    frames: int,
    heads: int,
    *,
    visible: Tensor | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """softmax(q kᵀ / √d) v over the frames of each clip, for every position and head.

    On a GPU one kernel reads q, k and v where they lie, so they may be the three parts of one fused projection,
    (B*F, N, 3*heads*d).chunk(3, dim=-1), and no copy is made in another order of axes. Products are summed in float32.

    Args:
        q, k, v: (B*F, N, heads*d), clip by clip, of one dtype; any strides. (L*F, 1, heads*d) is the same with the
            positions first.
        frames: F.
        heads: each is d neighbouring features wide.
        visible: bool, (F,) or (B, F): the frames that are looked at, such as those of a window that is not full. A
            clip without any becomes 0.
        backend: what computes; see `try_kernel`. The kernel is for at most 32 frames and heads at most 160 wide,
            without gradients.

    Returns:
        (B*F, N, heads*d), of the dtype of q.

    Raises:
        ValueError: shapes or dtypes that do not fit each other.
    """
    images, positions, features = q.shape
    if k.shape != q.shape or v.shape != q.shape or not q.dtype == k.dtype == v.dtype:
        raise ValueError(
            f"q, k and v must be of one shape and dtype, got {[(tuple(x.shape), x.dtype) for x in (q, k, v)]}"
        )
    if images % frames or features % heads:
        raise ValueError(f"{tuple(q.shape)} does not divide into clips of {frames} frames and {heads} heads")
    if visible is not None:
        if visible.dtype != torch.bool or visible.shape not in ((frames,), (images // frames, frames)):
            raise ValueError(
                f"visible must be bool of shape {(frames,)} or {(images // frames, frames)}, got {visible.dtype} of "
                f"{tuple(visible.shape)}"
            )
        visible = visible.expand(images // frames, frames)

    sizes = kernel_sizes(frames, features // heads, q.dtype)
    apart = frames * max(positions * features, *(x.stride(0) for x in (q, k, v)))
    suits = (
        q.dtype in DTYPES
        and frames <= MAX_FRAMES
        and features // heads <= MAX_WIDTH
        and q.numel() > 0
        and apart < FARTHEST
    )
    variant = ("temporal attention", q.dtype, *sizes.values(), visible is not None)
    by_torch = partial(_by_torch, q, k, v, visible, frames, heads)
    launch = partial(_launch, q, k, v, visible, frames, heads, sizes)
    attended = try_kernel(launch, variant, suits, backend, OLDEST_GPU, by_torch, q, k, v)
    return by_torch() if attended is None else attended


def kernel_sizes(frames: int, width: int, dtype: torch.dtype) -> dict[str, int]:
    """The kernel's compile-time sizes. Tensor cores want at least 16 of everything.

    One warp with tiles as wide as they can be is what was fastest on an H100. Of float32 so much does not fit in the
    registers, nor two warps with 32 frames on sm_86.
    """
    tile_frames, most, warps = 16 if frames <= 16 else 32, 64, 1
    if dtype == torch.float32:
        most, warps = 32, 1 if tile_frames == 16 else 4
    tile_width = next(tile for tile in (16, 32, 64) if tile >= min(width, most))
    return {"WIDTH": width, "TILE_FRAMES": tile_frames, "TILE_WIDTH": tile_width, "num_warps": warps}


def _launch(q, k, v, visible, frames, heads, sizes):
    from .attention_triton import temporal_attention_kernel

    q, k, v = (x if x.stride(2) == 1 else x.contiguous() for x in (q, k, v))
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    masked = visible is not None
    images, positions, _ = q.shape
    compiled = temporal_attention_kernel[(images // frames * positions * heads,)](
        q,
        k,
        v,
        visible if masked else q,
        out,
        frames,
        heads,
        positions,
        *(stride for x in (q, k, v, out) for stride in x.stride()[:2]),
        *(visible.stride() if masked else (0, 0)),
        math.log2(math.e) / math.sqrt(sizes["WIDTH"]),
        MASKED=masked,
        **sizes,
    )
    return out, compiled


def _by_torch(q, k, v, visible, frames, heads):
    positions = q.shape[1]
    q, k, v = (rearrange(x, "(b f) n (heads d) -> (b n) heads f d", f=frames, heads=heads) for x in (q, k, v))
    if visible is None:
        attended = F.scaled_dot_product_attention(q, k, v)
    else:
        visible = visible.repeat_interleave(positions, 0)[:, None, None]  # (B*N, 1, 1, F)
        nothing = ~visible.any(-1, keepdim=True)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=visible | nothing).masked_fill(nothing, 0)
    return rearrange(attended, "(b n) heads f d -> (b f) n (heads d)", n=positions)
