"""Tiled VCD against the Ultimate SD Upscale pack, in the same ComfyUI: time, seams and flicker.

Clips that the demo model drew with its motion module are enlarged to twice their size by both packs: the same model,
prompts, sampler, steps and strength, and the same four tiles of 144 pixels. Neither enlarges with the motion module,
since the peer (1.7.1) stops at models that have patches. Needs a ComfyUI and, in VCD_HOME/peers, a checkout of
ComfyUI_UltimateSDUpscale that is complete (that pack fetches its script from elsewhere when it is first loaded).

Time is that of the whole prompt with everything but the enlarging cached. Seams: mean difference across the lines at
which tiles or what is kept of them begin or end, over that across all other lines; of the clip, and of what was drawn
into it, since whoever stands in the middle of a clip has edges there that are no seams. A seam can also be a line along
which a picture is blurred, because two drawings that do not agree were faded into each other, and there the difference
is less: "seams beside one piece" is how far, as |ln ratio|, the seams of what was drawn are from those of the same clip
drawn in one piece. Flicker: how much of what was drawn changes from frame to frame, as a mean absolute difference.
"""

import math
import statistics
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.harness import case, main
from vcd_core.metrics import flicker_of_detail, seams
from vcd_core.standalone.tiles import enlarged_by

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests/support")]

from comfyui_hosts import find_hosts, vcd_home  # noqa: E402
from comfyui_server import Server, start_server  # noqa: E402
from graphs import Graph  # noqa: E402

PEER = vcd_home() / "peers/ComfyUI_UltimateSDUpscale"
SIDE, FRAMES = 128, 16
TILE, OVERLAP = 144, 32
LINES = (2 * SIDE - TILE, SIDE, TILE)  # of both packs' tiles, and the middle, where the peer goes from one to the next
SAMPLING = {"steps": 8, "cfg": 5.0, "sampler_name": "euler", "scheduler": "normal"}
STRENGTH = 0.3
TARGETS = {"time": 1.03, "seams": 1.0, "seams of what was drawn": 1.0, "seams beside one piece": 1.0, "flicker": 1.0}
PROMPTS = (
    "a woman with a grey hat, a blue striped shirt, on a beach",
    "a man with a brown beard, a green plain shirt, in a kitchen",
    "a robot with blue eyes, in a forest",
    "a cat with orange fur, in the snow",
)


class Comparison:
    """A graph that draws a clip and enlarges it by either pack."""

    def __init__(self, server: Server, number: int) -> None:
        self.server = server
        self.graph = graph = Graph()
        demo = graph.add("VCD_DemoModel", style="soft")
        self.vae = [demo, 3]
        texts = (f"a photo of {PROMPTS[number]}", "")
        words = [graph.add("CLIPTextEncode", text=text, clip=[demo, 2]) for text in texts]
        self.model = {"model": [demo, 0], "positive": [words[0], 0], "negative": [words[1], 0]}
        empty = graph.add("EmptyLatentImage", width=SIDE, height=SIDE, batch_size=FRAMES)
        drawn = graph.add(
            "VCD_Sampler",
            **self.model
            | {"model": [demo, 1]}
            | SAMPLING
            | {"steps": 20, "seed": number, "gamma": 0.1, "denoise": 1.0},
            latent_image=[empty, 0],
        )
        self.clip = [graph.add("VAEDecode", samples=[drawn, 0], vae=self.vae), 0]

    def run(self, class_type: str, **inputs: object) -> tuple[float, Tensor]:
        """Seconds, and the clip (F, H, W, 3) in [0, 1] that a node makes, or with "" the small clip."""
        graph = Graph(self.graph)
        made = [graph.add(class_type, **inputs), 0] if class_type else self.clip
        saved = graph.add("PreviewImage", images=made)
        result = self.server.queue(graph).check()
        return result.seconds, torch.from_numpy(result.images(saved))

    def ours(self, seed: int, tile: int = TILE) -> tuple[float, Tensor]:
        tiles = {"upscale_by": 2.0, "strength": STRENGTH, "gamma": 0.1, "tile": tile, "overlap": OVERLAP}
        return self.run(
            "VCD_TiledVCD",
            **self.model | SAMPLING | tiles | {"window": FRAMES, "window_overlap": 4},
            clip=self.clip,
            vae=self.vae,
            seed=seed,
        )

    def peer(self, seed: int) -> tuple[float, Tensor]:
        tiles = {"upscale_by": 2.0, "denoise": STRENGTH, "mode_type": "Linear", "tile_width": SIDE, "tile_height": SIDE}
        tiles |= {"tile_padding": TILE - SIDE, "mask_blur": 8, "seam_fix_mode": "None", "seam_fix_denoise": 1.0}
        tiles |= {"seam_fix_width": 64, "seam_fix_mask_blur": 8, "seam_fix_padding": 16}
        return self.run(
            "UltimateSDUpscaleCustomSample",
            **self.model | SAMPLING | tiles | {"force_uniform_tiles": True, "tiled_decode": False, "batch_size": 1},
            image=self.clip,
            vae=self.vae,
            seed=seed,
        )


def run() -> list[dict]:
    hosts = find_hosts()
    if not hosts or not (PEER / "repositories/ultimate_sd_upscale/scripts").is_dir():
        sys.stderr.write(f"benchmarks.upscale is left out: it needs a ComfyUI, and the whole of its peer in {PEER}\n")
        return []
    measures: dict[str, list[list[float]]] = {name: [[], []] for name in TARGETS}
    with (
        tempfile.TemporaryDirectory() as base,
        start_server(hosts[0], Path(base), packs=(ROOT, PEER)) as server,
    ):
        for number in range(len(PROMPTS)):
            comparison = Comparison(server, number)
            before = enlarged_by(comparison.run("")[1], 2.0)
            in_one_piece = seams(comparison.ours(number, 2 * SIDE)[1] - before, LINES, LINES)
            if number == 0:
                comparison.ours(100), comparison.peer(100)  # to warm up
            for side, make in enumerate((comparison.ours, comparison.peer)):
                seconds, clip = make(number)
                drawn = seams(clip - before, LINES, LINES)
                found = {
                    "time": seconds,
                    "seams": seams(clip, LINES, LINES),
                    "seams of what was drawn": drawn,
                    "seams beside one piece": abs(math.log(drawn / in_one_piece)),
                    "flicker": flicker_of_detail(clip, before),
                }
                for name, value in found.items():
                    measures[name][side].append(value)
                sys.stderr.write(f"{number}, {('ours', 'peer')[side]}: {found}\n")
    return [
        case(name, "s" if name == "time" else "", *(statistics.median(values) for values in sides), TARGETS[name])
        for name, sides in measures.items()
    ]


if __name__ == "__main__":
    main("upscale", run)
