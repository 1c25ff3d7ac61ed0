"""The attribute reader, trained on degraded drawings in both styles."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import world
from ..reader import NOWHERE, PLACE_NAMES, AttributeReader, head_crops, shows_shirt
from ..tensors import as_tensor, mixed_precision
from ..train import Draws, Stage
from .degrade import degrade

BATCH = 48
COLOUR_WEIGHT = 4.0


def stage(folder: Path) -> Stage:
    return Stage(AttributeReader(), loss, report, steps=8000, learning_rate=1.5e-3, weight_decay=0.02, average=0.997)


def loss(reader: nn.Module, draws: Draws) -> tuple[Tensor, dict[str, float]]:
    rng = draws.numpy
    scenes = [world.random_scene(rng, "ink" if rng.random() < 0.3 else "soft") for _ in range(BATCH)]
    renders = [world.draw(scene) for scene in scenes]
    images = as_tensor([degrade(rng, one.image) for one in renders])
    boxes = np.array([one.face_box for one in renders], np.float32)
    size = boxes[:, 2:] - boxes[:, :2]
    boxes = boxes + np.tile(size, 2) * rng.normal(0, 0.04, (BATCH, 4)).astype(np.float32)
    with mixed_precision():
        crops = head_crops(images, torch.from_numpy(boxes))
        answers = {name: answer.float() for name, answer in reader(crops).items()}
        where = reader.places(images).float()
    counts = [legible(one) for one in renders]
    total, right, asked = F.cross_entropy(where, places(scenes)), 0, 0
    for name, answer in answers.items():
        use = torch.tensor([name in names for names in counts])
        if not use.any():
            continue
        if name in world.COLOURS:
            rgb = torch.tensor([getattr(one.look, name) for one in scenes])[use] / 127.5 - 1
            total = total + COLOUR_WEIGHT * F.smooth_l1_loss(answer[use], rgb, beta=0.1)
        else:
            index = kinds(name, scenes)[use]
            total = total + F.cross_entropy(answer[use], index)
            right += (answer[use].argmax(1) == index).sum().item()
            asked += len(index)
    return total, {"right": right / asked}


def legible(render: world.Render) -> set[str]:
    """The attributes that this picture shows."""
    x0, y0, x1, y1 = render.face_box
    side = render.image.shape[0]
    inside = max(0, min(x1, side) - max(x0, 0)) * max(0, min(y1, side) - max(y0, 0))
    if inside < 0.8 * (x1 - x0) * (y1 - y0):
        return set()
    hidden = set() if shows_shirt(render.face_box, side) else {"shirt", "pattern"}
    return {"noun", *world.attributes(render.look)} - hidden


def kinds(name: str, scenes: list[world.Scene]) -> Tensor:
    options = world.NOUNS if name == "noun" else world.KINDS[name]
    return torch.tensor([options.index(getattr(one.look, name)) for one in scenes])


def places(scenes: list[world.Scene]) -> Tensor:
    """A crop of a face says nothing of the place, and is not asked for it."""
    return torch.tensor([PLACE_NAMES.index(NOWHERE if one.crop else one.shot.place) for one in scenes])


@torch.no_grad()
def report(reader: nn.Module, folder: Path) -> dict[str, float]:
    """Held-out people, whole and heads alone: the share read correctly of each attribute, colours by their names."""
    figures = {}
    for way, framings in {"whole": ("full", "half"), "head": ("portrait", "close")}.items():
        rng = np.random.default_rng(17)
        renders = [
            world.render(world.random_look(rng, held_out=True), world.random_shot(rng, framing=framings[number % 2]))
            for number in range(300)
        ]
        images = as_tensor([one.image for one in renders])
        boxes = torch.tensor([one.face_box for one in renders])
        answers = reader(head_crops(images, boxes))
        where = reader.places(images).argmax(1)
        figures[f"{way}, place"] = np.mean(
            [PLACE_NAMES[index] == one.shot.place for index, one in zip(where, renders, strict=True)]
        )
        shown = [legible(one) for one in renders]
        for name, answer in answers.items():
            use = [number for number in range(len(renders)) if name in shown[number]]
            if use:
                figures[f"{way}, {name}"] = np.mean([_right(name, answer[n], renders[n].look) for n in use])
    return figures


def _right(name: str, answer: Tensor, look: world.Look) -> bool:
    if name == "noun":
        return world.NOUNS[answer.argmax()] == look.noun
    if name in world.KINDS:
        return world.KINDS[name][answer.argmax()] == getattr(look, name)
    rgb = ((answer.clamp(-1, 1) + 1) * 127.5).tolist()
    return world.nearest_colour(name, look.noun, rgb) == world.colour_name(name, look)
