"""The temporal transformer of AnimateDiff: attention over a clip's frames, one position at a time."""

import math
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from einops import rearrange
from torch import Tensor, nn

from ..kernels import temporal_attention
from .layers import Linear, geglu, linear_plus

NORM_GROUPS = 32
# Bytes of the widest intermediate, (tokens, 8 C), that one chunk may hold. On a CPU a chunk should stay near
# the caches, and below the size at which the allocator fetches fresh pages every time; elsewhere it only
# bounds memory, and fewer chunks mean fewer launches and weight transfers.
CHUNK_BYTES_CPU = 2**25
CHUNK_BYTES_CPU_AUTOCAST = 3 * 2**24  # more: autocast converts the weights once a chunk
CHUNK_BYTES = 2**28
CHUNK_TOKENS_AT_LEAST = 512


@dataclass(frozen=True)
class MotionConfig:
    """The shape of a motion module.

    Args:
        channels: channels of each UNet level, outermost first; SD1.5: (320, 640, 1280, 1280).
        down_modules: temporal transformers in each down block, same order; SD1.5: (2, 2, 2, 2).
        up_modules: temporal transformers in each up block, innermost first; SD1.5: (3, 3, 3, 3).
        mid_block: whether the middle block has one too (AnimateDiff v2 has, v3 has not).
        max_frames: the longest clip whose positions the module knows.
        heads: attention heads of every attention.
    """

    channels: tuple[int, ...]
    down_modules: tuple[int, ...]
    up_modules: tuple[int, ...]
    mid_block: bool
    max_frames: int
    heads: int = 8


def sinusoidal_positions(count: int, channels: int) -> Tensor:
    """(1, count, channels), float32: sin(t ω_i) and cos(t ω_i) interleaved, ω_i = 10000^(−2i/channels)."""
    time = torch.arange(count)[:, None]
    frequency = torch.exp(torch.arange(0, channels, 2) * (-math.log(10000.0) / channels))
    waves = torch.stack([torch.sin(time * frequency), torch.cos(time * frequency)], dim=-1)
    return waves.reshape(1, count, channels)


OPERATIONS = SimpleNamespace(Linear=Linear, LayerNorm=nn.LayerNorm, GroupNorm=nn.GroupNorm)


class PositionalEncoding(nn.Module):
    def __init__(self, channels: int, max_frames: int, dtype=None, device=None):
        super().__init__()
        self.register_buffer("pe", sinusoidal_positions(max_frames, channels).to(device, dtype))

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.pe[:, : tokens.shape[1]].to(tokens)


class TemporalAttention(nn.Module):
    def __init__(self, channels: int, config: MotionConfig, operations, **factory):
        super().__init__()
        self.heads = config.heads
        self.to_q = operations.Linear(channels, channels, bias=False, **factory)
        self.to_k = operations.Linear(channels, channels, bias=False, **factory)
        self.to_v = operations.Linear(channels, channels, bias=False, **factory)
        self.to_out = nn.ModuleList([operations.Linear(channels, channels, **factory)])
        self.pos_encoder = PositionalEncoding(channels, config.max_frames, **factory)

    def forward(self, tokens: Tensor, residual: Tensor) -> Tensor:
        """What (L, F, C) tokens learn from each other's frames, added to the residual."""
        tokens = self.pos_encoder(tokens)
        frames = tokens.shape[1]
        q, k, v = (rearrange(project(tokens), "l f c -> (l f) 1 c") for project in (self.to_q, self.to_k, self.to_v))
        attended = temporal_attention(q, k, v, frames, self.heads)
        return linear_plus(self.to_out[0], rearrange(attended, "(l f) 1 c -> l f c", f=frames), residual)


class GEGLU(nn.Module):
    def __init__(self, channels: int, operations, **factory):
        super().__init__()
        self.proj = operations.Linear(channels, 8 * channels, **factory)

    def forward(self, tokens: Tensor) -> Tensor:
        return geglu(self.proj, tokens)


class FeedForward(nn.Module):
    def __init__(self, channels: int, operations, **factory):
        super().__init__()
        widen = GEGLU(channels, operations, **factory)
        self.net = nn.ModuleList([widen, nn.Identity(), operations.Linear(4 * channels, channels, **factory)])

    def forward(self, tokens: Tensor, residual: Tensor) -> Tensor:
        widen, _, narrow = self.net
        return linear_plus(narrow, widen(tokens), residual)


class TemporalBlock(nn.Module):
    def __init__(self, channels: int, config: MotionConfig, operations, **factory):
        super().__init__()
        self.attention_blocks = nn.ModuleList(
            TemporalAttention(channels, config, operations, **factory) for _ in range(2)
        )
        self.norms = nn.ModuleList(operations.LayerNorm(channels, **factory) for _ in range(2))
        self.ff = FeedForward(channels, operations, **factory)
        self.ff_norm = operations.LayerNorm(channels, **factory)

    def forward(self, tokens: Tensor) -> Tensor:
        for norm, attention in zip(self.norms, self.attention_blocks, strict=True):
            tokens = attention(norm(tokens), tokens)
        return self.ff(self.ff_norm(tokens), tokens)


class TemporalTransformer(nn.Module):
    """Lets the frames of a clip look at each other, at every image position separately.

    AnimateDiff (arXiv:2307.04725), as its v2 and v3 weights were trained: GroupNorm over each frame by
    itself, then per position two self-attentions over frames, with sinusoidal positions added to what q, k
    and v are made of, and a GEGLU feed-forward; a residual around the whole.

    Everything after the GroupNorm treats positions independently, so it runs over chunks of positions and
    needs little more memory than one copy of its input when no gradient is kept.
    """

    def __init__(self, channels: int, config: MotionConfig, *, operations=OPERATIONS, dtype=None, device=None):
        super().__init__()
        factory = {"dtype": dtype, "device": device}
        self.max_frames = config.max_frames
        self.norm = operations.GroupNorm(NORM_GROUPS, channels, eps=1e-6, **factory)
        self.proj_in = operations.Linear(channels, channels, **factory)
        self.transformer_blocks = nn.ModuleList([TemporalBlock(channels, config, operations, **factory)])
        self.proj_out = operations.Linear(channels, channels, **factory)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Returns x plus what the frames learn from each other, in x's shape and dtype.

        Args:
            x: (B*F, C, H, W), clip by clip: all frames of clip 1, then all frames of clip 2.
            frames: F, at most the number of positions the module was trained with.
        """
        if not 1 <= frames <= self.max_frames:
            raise ValueError(
                f"the clip has {frames} frames, but this motion module knows 1 to {self.max_frames}: shorten"
                " the clip or split it into windows"
            )
        if len(x) % frames:
            raise ValueError(f"{len(x)} images do not divide into clips of {frames} frames")

        normalised = self.norm(x).to(x.dtype)  # under autocast on a GPU the norm's result is float32
        tokens = rearrange(normalised, "(b f) c h w -> b (h w) f c", f=frames)  # a view
        chunks = tokens.split(positions_per_chunk(tokens), dim=1)
        if torch.is_grad_enabled():
            moved = torch.cat([self._attend(chunk) for chunk in chunks], dim=1)
            return x + rearrange(moved, "b (h w) f c -> (b f) c h w", h=x.shape[2])
        for chunk in chunks:
            _copy(chunk, self._attend(chunk))
        return normalised.add_(x)

    def _attend(self, chunk: Tensor) -> Tensor:
        """(B, L, F, C) of L positions -> the same shape."""
        tokens = chunk.contiguous() if torch.is_grad_enabled() else _copy(chunk.new_empty(chunk.shape), chunk)
        tokens = self.proj_in(rearrange(tokens, "b l f c -> (b l) f c"))
        for block in self.transformer_blocks:
            tokens = block(tokens)
        return rearrange(self.proj_out(tokens), "(b l) f c -> b l f c", b=len(chunk))


def _copy(tokens: Tensor, source: Tensor) -> Tensor:
    """tokens.copy_(source), (B, L, F, C): on the CPU a frame at a time, so that the lines of a picture that are fetched
    for one channel or position are still in its cache for the next."""
    if tokens.device.type != "cpu":
        return tokens.copy_(source)
    for to_frame, frame in zip(tokens.unbind(2), source.unbind(2), strict=True):
        to_frame.copy_(frame)
    return tokens


def positions_per_chunk(tokens: Tensor) -> int:
    """How many positions of (B, L, F, C) to attend to at once."""
    clips, _, frames, channels = tokens.shape
    budget = CHUNK_BYTES
    if tokens.device.type == "cpu":
        budget = CHUNK_BYTES_CPU_AUTOCAST if torch.is_autocast_enabled("cpu") else CHUNK_BYTES_CPU
    at_most = budget // (8 * channels * tokens.element_size())
    return max(1, max(CHUNK_TOKENS_AT_LEAST, at_most) // (clips * frames))
