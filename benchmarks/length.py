"""Whether a long clip costs more a frame than a short one: 256 frames of 32, in windows of 16.

The demo model (Stable Diffusion 1.5's shape, narrow) with its motion module and guidance draws clips of 128x128 pixels
by the sampler DPM++ 2M; time and memory are those of drawing the noise and of all steps. What a sampler holds of the
clip itself grows with it and is taken off: the noise, the noised start, x, x0 and the x0 of the step before.

Windows overlap less in the long clip, 21 over 256 frames against 3 over 32, which by itself makes 0.875 of the time a
frame. So the time of a window is compared as well: it would tell if a window cost more the longer its clip is.
"""

from pathlib import Path

import torch

from benchmarks.harness import alternating_medians, case, main, peak_live_bytes
from vcd_core.noise import correlated_noise
from vcd_core.sampling import start_latents
from vcd_core.standalone.demo_model import load_demo_model, load_demo_motion
from vcd_core.standalone.motion import inserted_motion
from vcd_core.standalone.pipeline import VAE_FACTOR, guided, karras_sigmas, sampled
from vcd_core.tiles import Cut, TilePlan, tiled

WEIGHTS = Path(__file__).parents[1] / "demo/weights"
SHORT, LONG = 32, 256
SIDE, STEPS, CFG, GAMMA, ROUNDS = 128 // VAE_FACTOR, 3, 5.0, 0.1, 3
WINDOW = Cut(16, 4)
HELD = 5  # tensors of the whole clip


def plan(frames: int) -> TilePlan:
    return TilePlan((frames, SIDE, SIDE), WINDOW)


def run() -> list[dict]:
    model, motion = load_demo_model(WEIGHTS), load_demo_motion(WEIGHTS)
    schedule, denoise = guided(model, ["a photo of a woman"], [""], CFG, motion)
    sigmas = karras_sigmas(schedule, STEPS)

    @torch.no_grad()
    def draw(frames: int) -> None:
        noise = correlated_noise((frames, 4, SIDE, SIDE), GAMMA, torch.Generator().manual_seed(0))
        in_windows = tiled(lambda x, sigma, _tile: denoise(x, sigma), plan(frames))
        sampled(in_windows, start_latents(noise, sigmas[0]), sigmas, "dpmpp_2m", lambda _step: noise, lambda: None)

    def beside_the_clip(frames: int) -> float:
        return (peak_live_bytes(lambda: draw(frames)) - HELD * frames * 4 * SIDE**2 * 4) / 2**20

    with inserted_motion(model.unet, motion):
        long, short = alternating_medians(lambda: draw(LONG), lambda: draw(SHORT), ROUNDS)
        memory = beside_the_clip(LONG), beside_the_clip(SHORT)
    return [
        case(f"time per frame, {LONG} of {SHORT}", "s", long / LONG, short / SHORT, 1.1),
        case(f"time per window, {LONG} of {SHORT}", "s", long / len(plan(LONG)), short / len(plan(SHORT)), 1.1),
        case(f"memory beside the clip, {LONG} of {SHORT}", "MiB", *memory, 1.1),
    ]


if __name__ == "__main__":
    main("length", run)
