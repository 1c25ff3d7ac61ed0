"""A sampling step of a clip against AnimateDiff-Evolved, in the same ComfyUI: time and memory.

A model of Stable Diffusion 1.5's size and an AnimateDiff v2 module, both with random weights from the same files, draw
clips of 128x128 pixels with guidance. Each side is what its users have: a server of its own with that pack alone, its
loader, and its sampler (ours, with correlated noise; ComfyUI's KSampler). Both servers are up throughout and draw in
turn. Needs a ComfyUI that the peer takes, and a checkout in VCD_HOME/peers/ComfyUI-AnimateDiff-Evolved.

Time is that from one step's news of progress to the next's, so neither loading nor the first step, which finds cold
memory, is in it. Memory is counted inside the servers: the most bytes of tensors alive at once while the sampler is at
work, beside those that were there before, which are the models. Resident memory shows the same through what allocators
keep and what loading needed once; "server" is that, the peak (VmHWM) of each server that has drawn nothing else.
"""

import re
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.harness import case, main

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests/support")]

import random_models  # noqa: E402
from comfyui_hosts import find_hosts, vcd_home  # noqa: E402
from comfyui_server import Server, start_server  # noqa: E402
from graphs import Graph  # noqa: E402

PEER = vcd_home() / "peers/ComfyUI-AnimateDiff-Evolved"
WATCH = ROOT / "benchmarks/live_memory_pack"
PEER_NEEDS = (0, 3, 68)
SIDE, LENGTHS = 128, (16, 32)
STEPS, ROUNDS = 4, 3
SAMPLING = {"steps": STEPS, "cfg": 8.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
TARGET = 1.03  # 1 and what two runs of the same differ by


class Side:
    """A server with one of the packs."""

    def __init__(self, server: Server, ours: bool) -> None:
        self.server = server
        self.ours = ours
        server.place("checkpoints", random_models.sd15_checkpoint(), "sd15.safetensors")
        server.place("animatediff_models", random_models.motion_module("v2"), "v2.safetensors")

    def graph(self, frames: int, seed: int, *, watched: bool) -> Graph:
        graph = Graph()
        checkpoint = graph.add("CheckpointLoaderSimple", ckpt_name="sd15.safetensors")
        words = [graph.add("CLIPTextEncode", text=text, clip=[checkpoint, 1]) for text in ("a woman", "blurred")]
        if self.ours:
            module = {"motion_module": "v2.safetensors", "noise_schedule": "AnimateDiff"}
            moving = graph.add("VCD_LoadMotionModule", model=[checkpoint, 0], **module)
        else:
            module = {"model_name": "v2.safetensors", "beta_schedule": "sqrt_linear (AnimateDiff)"}
            moving = graph.add("ADE_AnimateDiffLoaderGen1", model=[checkpoint, 0], **module)
        if watched:
            moving = graph.add("BenchmarkWatchMemory", model=[moving, 0])
        sampler, own = ("VCD_Sampler", {"gamma": 0.1}) if self.ours else ("KSampler", {})
        drawn = graph.add(
            sampler,
            model=[moving, 0],
            positive=[words[0], 0],
            negative=[words[1], 0],
            latent_image=[graph.add("EmptyLatentImage", width=SIDE, height=SIDE, batch_size=frames), 0],
            seed=seed,
            **SAMPLING | own,
        )
        if watched:
            graph.add("BenchmarkShowMemory", sampled=[drawn, 0])
        else:
            graph.add("SaveLatent", samples=[drawn, 0], filename_prefix="step")
        return graph

    def steps(self, frames: int, seed: int) -> list[float]:
        """Seconds of each step of a clip but the first."""
        news = []
        with self.server.running(self.graph(frames, seed, watched=False)) as wait:
            for _ in range(STEPS):
                wait.until("progress")
                news.append(time.perf_counter())
            wait().check()
        return [after - before for before, after in zip(news, news[1:], strict=False)]

    def live_mebibytes(self, frames: int) -> float:
        graph = self.graph(frames, 0, watched=True)
        result = self.server.queue(graph).check()
        return result.outputs[graph.find("BenchmarkShowMemory")]["bytes"][0] / 2**20

    def peak_mebibytes(self) -> float:
        status = Path(f"/proc/{self.server.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 2**10


def run() -> list[dict]:
    hosts = [host for host in find_hosts() if host.key >= PEER_NEEDS]
    if not hosts or not PEER.is_dir():
        needed = ".".join(map(str, PEER_NEEDS))
        sys.stderr.write(f"benchmarks.t2v_step is left out: it needs a ComfyUI from {needed} on, and its peer in {PEER}\n")
        return []
    cases = []
    with ExitStack() as stack:
        sides = []
        for pack in (ROOT, PEER):
            base = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            server = stack.enter_context(start_server(hosts[-1], base, packs=(pack, WATCH)))
            sides.append(Side(server, ours=pack == ROOT))
        for frames in LENGTHS:
            seconds: list[list[float]] = [[], []]
            for seed in range(ROUNDS + 1):
                for side, found in zip(sides, seconds, strict=True):
                    steps = side.steps(frames, seed)
                    found += steps if seed else []  # the first warms up
                    sys.stderr.write(f"{frames} frames, {'ours' if side.ours else 'peer'}: {steps}\n")
            cases.append(case(f"step {frames} frames", "s", *map(statistics.median, seconds), TARGET))
            resident = [side.peak_mebibytes() for side in sides]
            live = [side.live_mebibytes(frames) for side in sides]
            cases.append(case(f"memory {frames} frames", "MiB", *live, TARGET))
            cases.append(case(f"memory {frames} frames, server", "MiB", *resident, TARGET))
    return cases


if __name__ == "__main__":
    main("t2v_step", run)
