"""Our temporal transformer against diffusers' AnimateDiffTransformer3D: time and memory, on the CPU.

Same weights, clips 2x16, the three widths of SD1.5. Inference as pipelines run it: no gradients, frozen
weights. bf16 means float32 weights under autocast and a bfloat16 input, which is what the layers of a UNet
under autocast hand on.

Both do the same matrix products, and what these alone take is a bound below which no other way of doing the rest comes:
a line on stderr says which part of the peer's time it is, for each size and precision.
"""

import copy
import statistics
import sys
import time

import torch
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D

from benchmarks.harness import alternating_medians, case, main, peak_live_bytes
from vcd_core.motion import MotionConfig, TemporalTransformer
from vcd_core.motion.files import animatediff_name

CLIPS, FRAMES, HEADS, MAX_FRAMES = 2, 16, 8, 32
SIZES = ((320, 48), (640, 24), (1280, 12))  # channels, side of the latent
TIME_TARGETS = {"fp32": 0.8, "bf16": 0.6}
MEMORY_TARGET = 0.5
ROUNDS = 3
TOKENS_AT_ONCE = 2048  # on which the bare products run fastest


def same_weights(channels: int) -> tuple[TemporalTransformer, AnimateDiffTransformer3D]:
    peer = AnimateDiffTransformer3D(
        HEADS,
        channels // HEADS,
        channels,
        activation_fn="geglu",
        positional_embeddings="sinusoidal",
        num_positional_embeddings=MAX_FRAMES,
    )
    ours = TemporalTransformer(channels, MotionConfig((channels,), (1,), (1,), False, MAX_FRAMES, HEADS))
    prefix = "down_blocks.0.motion_modules.0."
    weights = {
        animatediff_name(prefix + key).removeprefix(prefix + "temporal_transformer."): value
        for key, value in peer.state_dict().items()
        if not key.endswith("pos_embed.pe")
    }
    missing, unexpected = ours.load_state_dict(weights, strict=False)
    assert not unexpected, unexpected
    assert all(key.endswith("pos_encoder.pe") for key in missing), missing
    return ours.eval().requires_grad_(False), peer.eval().requires_grad_(False)


@torch.no_grad()
def seconds_of_products(module: TemporalTransformer, tokens: int, dtype: torch.dtype) -> float:
    """The median of some rounds: every linear layer on so many tokens that are there, its weights in this precision."""
    layers = [copy.deepcopy(layer).to(dtype) for layer in module.modules() if isinstance(layer, torch.nn.Linear)]
    inputs = {width: torch.randn(TOKENS_AT_ONCE, width).to(dtype) for width in {layer.in_features for layer in layers}}
    measured = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        for layer in layers:
            for done in range(0, tokens, TOKENS_AT_ONCE):
                layer(inputs[layer.in_features][: tokens - done])
        measured.append(time.perf_counter() - start)
    return statistics.median(measured[1:])


def run() -> list[dict]:
    cases = []
    for channels, side in SIZES:
        ours, peer = same_weights(channels)
        clip = torch.randn(CLIPS * FRAMES, channels, side, side)
        for dtype, x in (("fp32", clip), ("bf16", clip.bfloat16())):

            def under(call, dtype=dtype):
                def inference():
                    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16"):
                        return call()

                return inference

            run_ours = under(lambda ours=ours, x=x: ours(x, FRAMES))
            run_peer = under(lambda peer=peer, x=x: peer(x, num_frames=FRAMES))
            name = f"{channels} channels {side}x{side} {dtype}"
            seconds = alternating_medians(run_ours, run_peer, ROUNDS)
            products = seconds_of_products(ours, len(x) * side * side, x.dtype)
            sys.stderr.write(f"{name}: the matrix products alone take {products / seconds[1]:.2f} of the peer's time\n")
            cases.append(case(f"{name} time", "s", *seconds, TIME_TARGETS[dtype]))
            mebibytes = [peak_live_bytes(call) / 2**20 for call in (run_ours, run_peer)]
            cases.append(case(f"{name} memory", "MiB", *mebibytes, MEMORY_TARGET))
    return cases


if __name__ == "__main__":
    main("motion", run)
