"""Tiled VCD against the pack Ultimate SD Upscale, on the demo model in one ComfyUI: time, seams and flicker.

A clip of the demo is enlarged to twice its size by the same sampler, steps and strength, in as many tiles of the same
size. Seams: the mean difference across the lines where tiles meet, over that across all other lines. Flicker: how much
of what was drawn changes from frame to frame, the mean difference of neighbouring frames of what each adds to the
merely enlarged clip. Both are of the pictures, not of the clock. Needs a ComfyUI where the tests look for it, and that
pack in VCD_HOME/peers/ComfyUI_UltimateSDUpscale; else nothing is measured, and that is said.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.harness import alternating_medians, case, main

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "scripts"))
from comfyui_hosts import find_hosts, search_places, vcd_home  # noqa: E402

PEER = vcd_home() / "peers" / "ComfyUI_UltimateSDUpscale"
FRAMES, SIZE, STEPS, CFG, STRENGTH, GAMMA, ROUNDS = 8, 128, 6, 5.0, 0.3, 0.1, 2
TILE, PADDING = 128, 8  # the peer's, which draws squares of TILE + 2 * PADDING around its tiles; ours are such squares
SHOWN = "a woman with long red hair on a beach"
TIME_TARGET, BETTER = 1.03, 1.0


def run() -> list[dict]:
    """Measures in a process of ComfyUI's own."""
    hosts = find_hosts()
    if not hosts or not PEER.is_dir():
        where = search_places() if not hosts else PEER
        sys.stderr.write(f"benchmarks.upscale: not measured, there is nothing in {where}\n")
        return []
    with tempfile.TemporaryDirectory() as base:
        environment = hosts[-1].environment() | {"VCD_COMFYUI": str(hosts[-1].path), "VCD_COMFYUI_BASE": base}
        code = "from benchmarks.upscale import measure; measure()"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True, text=True
        )
    return json.loads(done.stdout.splitlines()[-1])


def measure() -> None:
    """Prints the cases as JSON; inside ComfyUI."""
    host, base = os.environ["VCD_COMFYUI"], os.environ["VCD_COMFYUI_BASE"]
    sys.path[:] = [host, *(entry for entry in sys.path if Path(entry or ".").resolve() != ROOT)]
    sys.argv = ["main.py", "--cpu", "--base-directory", base]
    import comfy.options

    comfy.options.enable_args_parsing()
    pack = _package("vcd_pack", ROOT)
    demo = importlib.import_module(f"{pack}.nodes.host.demo")
    sampling = importlib.import_module(f"{pack}.nodes.host.sampling")
    upscaling = importlib.import_module(f"{pack}.nodes.host.upscaling")
    import torch._inductor.test_operators  # the peer takes back whatever is first imported while it is

    peer = _package("upscale_peer", PEER)
    theirs = sys.modules[peer].NODE_CLASS_MAPPINGS["UltimateSDUpscaleCustomSample"]()

    with torch.inference_mode():
        _, model, clip, vae = demo.load_demo(demo.WEIGHTS, styled=False)
        positive, part, negative = (
            clip.encode_from_tokens_scheduled(clip.tokenize(words))
            for words in (f"a photo of {SHOWN}", f"a zoomed in photo of {SHOWN}", "")
        )
        how = sampling.Sampling(model, positive, negative, 0, 20, CFG, "euler", "normal")
        empty = {"samples": torch.zeros(FRAMES, 4, SIZE // 8, SIZE // 8)}
        latent = sampling.sample_with_correlated_noise(how, empty, 1.0, GAMMA)["samples"]
        source = vae.decode(latent)

        def ours() -> Tensor:
            return upscaling.enlarge_and_refine(
                source,
                sampling.Sampling(model, part, negative, 0, STEPS, CFG, "euler", "normal"),
                vae,
                upscaling.TileSizes(TILE + 2 * PADDING, 4 * PADDING, FRAMES, 0),
                upscale_by=2.0,
                strength=STRENGTH,
                gamma=GAMMA,
            )

        def peers() -> Tensor:
            (large,) = theirs.upscale(
                source, model, part, negative, vae, 2.0, 0, STEPS, CFG, "euler", "normal", STRENGTH, None, "Linear",
                TILE, TILE, 8, PADDING, "None", 1.0, 8, 64, 16, True, False,
            )  # fmt: skip
            return large

        seconds = alternating_medians(ours, peers, ROUNDS)
        made, other = ours(), peers()
        plain = upscaling.enlarged(source[..., :3], (2 * SIZE, 2 * SIZE))
    seams = seam(made, [SIZE - 2 * PADDING, SIZE + 2 * PADDING]), seam(other, [SIZE])
    flickers = flicker(made - plain), flicker(other - plain)
    cases = [
        case("time 2x2 tiles of 144, 8 frames", "s", *seconds, TIME_TARGET),
        case("seams", "", *seams, BETTER),
        case("flicker", "", *flickers, BETTER),
    ]
    print(json.dumps(cases))


def seam(clip: Tensor, lines: list[int]) -> float:
    """Across the rows and columns that begin at `lines`, over all others; clip (F, H, W, 3)."""
    at, others = [], []
    for axis in (1, 2):
        change = clip.diff(dim=axis).abs().movedim(axis, 0).flatten(1).mean(1)
        there = torch.zeros(len(change), dtype=torch.bool)
        there[[line - 1 for line in lines]] = True
        at.append(change[there])
        others.append(change[~there])
    return (torch.cat(at).mean() / torch.cat(others).mean()).item()


def flicker(clip: Tensor) -> float:
    return clip.diff(dim=0).abs().mean().item()


def _package(name: str, folder: Path) -> str:
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    return name


if __name__ == "__main__":
    main("upscale", run)
