"""A sampling step of a clip against AnimateDiff-Evolved, in the same ComfyUI: time and memory.

A model of Stable Diffusion 1.5's size and an AnimateDiff v2 module, both with random weights from the same files, draw
clips of 128x128 pixels with guidance: by each pack's loader and its sampler (ours with correlated noise; ComfyUI's
KSampler). One server has both packs, which draw in turn; the peer replaces functions of ComfyUI only while it draws.
Needs a ComfyUI that the peer takes, a checkout in VCD_HOME/peers/ComfyUI-AnimateDiff-Evolved, and 10 GB of memory.

Time is that from one step's news of progress to the next's, so neither loading nor the first step, which finds cold
memory, is in it. Memory is counted inside the server: the most bytes of tensors alive at once while the sampler is at
work, beside those that were there before, which are the models. "with the models" is the peak of resident memory
(VmHWM) of a server that has one pack alone and has drawn nothing else: what allocators keep and loading takes is in it.
"""

import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import case, main

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests/support")]

import random_models  # noqa: E402
from comfyui_hosts import Host, find_hosts, vcd_home  # noqa: E402
from comfyui_server import Server, start_server  # noqa: E402
from graphs import Graph  # noqa: E402

PEER = vcd_home() / "peers/ComfyUI-AnimateDiff-Evolved"
WATCH = ROOT / "benchmarks/live_memory_pack"
PEER_NEEDS = (0, 3, 68)
SIDE, LENGTHS = 128, (16, 32)
STEPS, ROUNDS = 4, 3
SAMPLING = {"cfg": 8.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
TARGET = 1.03  # 1, and what two runs of the same differ by


class Side:
    """One of the packs in a server."""

    def __init__(self, server: Server, pack: Path) -> None:
        self.server, self.pack = server, pack
        server.place("checkpoints", random_models.sd15_checkpoint(), "sd15.safetensors")
        server.place("animatediff_models", random_models.motion_module("v2"), "v2.safetensors")

    def graph(self, frames: int, seed: int, steps: int, *, watched: bool = False) -> Graph:
        graph = Graph()
        checkpoint = graph.add("CheckpointLoaderSimple", ckpt_name="sd15.safetensors")
        words = [graph.add("CLIPTextEncode", text=text, clip=[checkpoint, 1]) for text in ("a woman", "blurred")]
        if self.pack == ROOT:
            module = {"motion_module": "v2.safetensors", "noise_schedule": "AnimateDiff"}
            moving = graph.add("VCD_LoadMotionModule", model=[checkpoint, 0], **module)
        else:
            module = {"model_name": "v2.safetensors", "beta_schedule": "sqrt_linear (AnimateDiff)"}
            moving = graph.add("ADE_AnimateDiffLoaderGen1", model=[checkpoint, 0], **module)
        if watched:
            moving = graph.add("BenchmarkWatchMemory", model=[moving, 0])
        sampler, own = ("VCD_Sampler", {"gamma": 0.1}) if self.pack == ROOT else ("KSampler", {})
        drawn = graph.add(
            sampler,
            model=[moving, 0],
            positive=[words[0], 0],
            negative=[words[1], 0],
            latent_image=[graph.add("EmptyLatentImage", width=SIDE, height=SIDE, batch_size=frames), 0],
            seed=seed,
            steps=steps,
            **SAMPLING | own,
        )
        if watched:
            graph.add("BenchmarkShowMemory", sampled=[drawn, 0])
        else:
            graph.add("SaveLatent", samples=[drawn, 0], filename_prefix="step")
        return graph

    def seconds(self, frames: int, seed: int) -> list[float]:
        """Of each step of a clip but the first."""
        news = []
        with self.server.running(self.graph(frames, seed, STEPS)) as wait:
            for _ in range(STEPS):
                wait.until("progress")
                news.append(time.perf_counter())
            wait().check()
        return [after - before for before, after in zip(news, news[1:], strict=False)]

    def live_mebibytes(self, frames: int) -> float:
        graph = self.graph(frames, 0, 2, watched=True)
        result = self.server.queue(graph).check()
        return result.outputs[graph.find("BenchmarkShowMemory")]["bytes"][0] / 2**20

    def resident_mebibytes(self, frames: int) -> float:
        self.server.queue(self.graph(frames, 0, 2)).check()
        status = Path(f"/proc/{self.server.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 2**10


@contextmanager
def serving(host: Host, *packs: Path) -> Iterator[list[Side]]:
    with (
        tempfile.TemporaryDirectory() as base,
        start_server(host, Path(base), packs=(*packs, WATCH)) as server,
    ):
        yield [Side(server, pack) for pack in packs]


def run() -> list[dict]:
    hosts = [host for host in find_hosts() if host.key >= PEER_NEEDS]
    if not hosts or not PEER.is_dir():
        needed = ".".join(map(str, PEER_NEEDS))
        sys.stderr.write(f"benchmarks.t2v_step is left out: it needs ComfyUI >= {needed} and its peer in {PEER}\n")
        return []
    cases = []
    with serving(hosts[-1], ROOT, PEER) as sides:
        for frames in LENGTHS:
            seconds: list[list[float]] = [[], []]
            for seed in range(ROUNDS + 1):
                for side, found in zip(sides, seconds, strict=True):
                    steps = side.seconds(frames, seed)
                    found += steps if seed else []  # the first warms up
                    sys.stderr.write(f"{frames} frames, {side.pack.name}: {steps}\n")
            cases.append(case(f"step {frames} frames", "s", *map(statistics.median, seconds), TARGET))
            live = [side.live_mebibytes(frames) for side in sides]
            cases.append(case(f"memory {frames} frames", "MiB", *live, TARGET))
    resident = []
    for pack in (ROOT, PEER):
        with serving(hosts[-1], pack) as (side,):
            resident.append([side.resident_mebibytes(frames) for frames in LENGTHS])
    for frames, *peaks in zip(LENGTHS, *resident, strict=True):
        cases.append(case(f"memory {frames} frames, with the models", "MiB", *peaks, TARGET))
    return cases


if __name__ == "__main__":
    main("t2v_step", run)
