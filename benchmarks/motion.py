"""Our temporal transformer against diffusers' AnimateDiffTransformer3D: time and memory, on the CPU.

Same weights, clips 2x16, the three widths of SD1.5. Inference as pipelines run it: no gradients, frozen
weights. bf16 means float32 weights under autocast and a bfloat16 input, which is what the layers of a UNet
under autocast hand on.
"""

import torch
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D

from benchmarks.harness import alternating_medians, case, main, peak_live_bytes
from vcd_core.motion import MotionConfig, TemporalTransformer
from vcd_core.motion.files import animatediff_name

CLIPS, FRAMES, HEADS, MAX_FRAMES = 2, 16, 8, 32
SIZES = ((320, 48), (640, 24), (1280, 12))  # channels, side of the latent
TIME_TARGETS = {"fp32": 0.9, "bf16": 0.75}
MEMORY_TARGET = 0.6
ROUNDS = 3


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
            cases.append(case(f"{name} time", "s", *seconds, TIME_TARGETS[dtype]))
            mebibytes = [peak_live_bytes(call) / 2**20 for call in (run_ours, run_peer)]
            cases.append(case(f"{name} memory", "MiB", *mebibytes, MEMORY_TARGET))
    return cases


if __name__ == "__main__":
    main("motion", run)
