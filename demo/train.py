"""Trains the demo model from nothing: python -m demo.train STAGE [--steps N] [--minutes M].

Stages, in order: vae, decoder, text, image, motion, style, reader, detector; `pack` writes the weights that ship. Each
stage can be stopped at any moment and goes on where its last checkpoint stood: all randomness of step n comes from
(seed, n). Checkpoints, logs and sample pictures go to --folder, by default ~/.cache/comfyui-vcd/demo. Where they are
lost, `unpack` makes checkpoints of the weights that ship, from which more steps are trained.
"""

import argparse
import copy
import importlib
import json
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from vcd_core.files import unfinished_file

from .muon import Muon

STAGES = ("vae", "decoder", "text", "image", "motion", "style", "reader", "detector")
FOLDER = Path(os.environ.get("VCD_HOME") or Path.home() / ".cache" / "comfyui-vcd") / "demo"
SEED = 20240213
CHECKPOINT_SECONDS = 180


def adamw(parameters: list[nn.Parameter], learning_rate: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    return [torch.optim.AdamW(parameters, learning_rate, betas=(0.9, 0.99), weight_decay=weight_decay, fused=True)]


def muon(parameters: list[nn.Parameter], learning_rate: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices, AdamW for the rest."""
    matrices = [parameter for parameter in parameters if parameter.ndim == 2]
    others = [parameter for parameter in parameters if parameter.ndim != 2]
    return [Muon(matrices, learning_rate, weight_decay), *adamw(others, learning_rate, weight_decay)]


@dataclass
class Stage:
    """What one stage trains.

    Attributes:
        module: holds everything that is trained.
        loss: (module, random generators of the step) -> scalar loss and figures for the log.
        report: (averaged module, folder) -> figures; may write pictures.
        steps: in all; the last fifth decays the learning rate.
        learning_rate, weight_decay, clip: of the optimizers, and the largest gradient norm.
        average: decay of the weights' moving average.
        optimizers: parameters, learning rate, weight decay -> what trains them.
    """

    module: nn.Module
    loss: Callable[[nn.Module, "Draws"], tuple[Tensor, dict[str, float]]]
    report: Callable[[nn.Module, Path], dict[str, float]]
    steps: int
    learning_rate: float
    weight_decay: float = 0.0
    clip: float = 1.0
    average: float = 0.998
    warmup: int = 200
    report_every: int = 500
    optimizers: Callable[[list[nn.Parameter], float, float], list[torch.optim.Optimizer]] = adamw


class Draws:
    """The random generators of one step."""

    def __init__(self, seed: int, step: int):
        self.numpy = np.random.default_rng((seed, step))
        self.torch = torch.Generator().manual_seed(int(self.numpy.integers(2**63)))


def train(name: str, stage: Stage, folder: Path, seconds: float = math.inf) -> nn.Module:
    """Trains until the stage's steps are done or the time is up; returns the averaged module.

    Every hundred steps its log says the loss, the gradient's norm, and how many of the weights are idle: their gradient
    is nothing, so that they will never learn.
    """
    module = stage.module
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizers = stage.optimizers(trained, stage.learning_rate, stage.weight_decay)
    averaged = copy.deepcopy(module).requires_grad_(False).eval()
    file = folder / f"{name}.pt"
    step = 0
    if file.exists():
        state = torch.load(file, weights_only=True)
        module.load_state_dict(state["module"])
        averaged.load_state_dict(state["averaged"])
        for optimizer, kept in zip(optimizers, state.get("optimizers", ()), strict=False):  # none from what ships
            optimizer.load_state_dict(kept)
        step = state["step"]
    for left in folder.glob(f".{file.name}.*.part"):  # of a run that was killed
        left.unlink()
    start = saved = time.monotonic()
    shown: list[float] = []

    def save() -> None:
        write_checkpoint(
            file,
            {
                "module": module.state_dict(),
                "averaged": averaged.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                "step": step,
                "steps": stage.steps,
            },
        )

    def log(**figures) -> None:
        line = {"stage": name, "step": step, "minutes": round((time.monotonic() - start) / 60, 1)} | {
            key: round(float(value), 5) for key, value in figures.items()
        }
        print(json.dumps(line), flush=True)
        with (folder / f"{name}.jsonl").open("a") as stream:
            stream.write(json.dumps(line) + "\n")

    while step < stage.steps and time.monotonic() - start < seconds:
        loss, figures = stage.loss(module, Draws(SEED, step))
        module.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(trained, stage.clip)
        for optimizer in optimizers if torch.isfinite(norm) else ():
            for group in optimizer.param_groups:
                group["lr"] = stage.learning_rate * rate(step, stage)
            optimizer.step()
        step += 1
        decay = min(stage.average, step / (step + 10))
        with torch.no_grad():
            for slow, fast in zip(averaged.parameters(), module.parameters(), strict=True):
                if fast.requires_grad:
                    slow.lerp_(fast, 1 - decay)
        shown.append(loss.item())
        if step % 100 == 0:
            idle = sum(not parameter.grad.any() for parameter in trained if parameter.grad is not None)
            log(loss=np.mean(shown), norm=norm, idle=idle, **figures)
            shown.clear()
        if step % stage.report_every == 0 and step < stage.steps:
            log(**stage.report(averaged, folder))
        if time.monotonic() - saved > CHECKPOINT_SECONDS:
            save()
            saved = time.monotonic()
    save()
    log(**stage.report(averaged, folder))
    return averaged


def rate(step: int, stage: Stage) -> float:
    """Warm up, hold, and decay over the last fifth."""
    return min(1.0, (step + 1) / stage.warmup, max(0.01, (stage.steps - step) / (0.2 * stage.steps)))


def write_checkpoint(file: Path, state: dict) -> None:
    """Writes a stage's checkpoint: module, averaged, step and steps, and the optimizer's state where there is one."""
    with unfinished_file(file) as unfinished:
        torch.save(state, unfinished)


def averaged_weights(folder: Path, name: str) -> dict[str, Tensor]:
    """The averaged weights of a stage's last checkpoint."""
    file = folder / f"{name}.pt"
    if not file.exists():
        raise SystemExit(f"{file} is missing: run python -m demo.train {name} first")
    state = torch.load(file, weights_only=True)
    if state["step"] < state["steps"]:
        sys.stderr.write(f"{file} is at step {state['step']} of {state['steps']}\n")
    return state["averaged"]


def write_grid(path: Path, pictures: list[np.ndarray] | np.ndarray, columns: int) -> None:
    """Pictures (H, W, 3) uint8 RGB in rows, as PNG."""
    rows = [np.concatenate(list(pictures[i : i + columns]), 1) for i in range(0, len(pictures), columns)]
    ok, data = cv2.imencode(".png", cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))
    assert ok
    path.write_bytes(data.tobytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=(*STAGES, "pack", "unpack"))
    parser.add_argument("--steps", type=int, help="train this many steps in all")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after this long; run again to go on")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    torch.manual_seed(SEED)
    if arguments.stage not in STAGES:
        getattr(importlib.import_module("demo.stages.pack"), arguments.stage)(arguments.folder)
        return
    made = importlib.import_module(f"demo.stages.{arguments.stage}").stage(arguments.folder)
    if arguments.steps:
        made.steps = arguments.steps
    train(arguments.stage, made, arguments.folder, 60 * arguments.minutes)


if __name__ == "__main__":
    main()
