"""The attribute reader, trained on degraded drawings in both styles and on what the autoencoder makes of drawings."""

from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from vcd_core.files import unfinished_file

from .. import world
from ..appearance import COLOURS, KINDS, NOUNS, attributes, random_look, same
from ..reader import NOWHERE, PLACE_NAMES, AttributeReader, head_crops, look_of, shows_shirt
from ..shots import random_shot
from ..tensors import as_pictures, as_tensor, mixed_precision
from ..train import SEED, Draws, Stage
from .degrade import degrade
from .latents import BATCH as DRAWN_TOGETHER
from .latents import SHARD, TOGETHER, encoded_once, latents, load_vae, scene
from .motion import clip, clip_latents

BATCH, DECODED = 48, 32  # pictures a step, and how many of them went through the autoencoder
COLOUR_WEIGHT = 4.0
WEIGHTS = {"brows": 2.0, "hair": 2.0}  # of kinds; 1 where none is given: these are the hardest to see
SHARDS = 5  # of the pictures for the UNet, decoded
FIGURES = 5  # shards of whole figures besides: small faces are the hardest to read
FULL_SHARE = 0.7  # of them; the others show half a body
CLIP_FRAMES = (0, 7, 15)  # of each clip, decoded
WAYS_TO_SEE = {"whole": ("full", "half"), "head": ("portrait", "close")}


def stage(folder: Path) -> Stage:
    reader, decoded, vae = AttributeReader(), decoded_pictures(folder), load_vae(folder)
    return Stage(
        reader,
        partial(loss, decoded),
        partial(report, vae),
        steps=8000,
        learning_rate=1.5e-3,
        weight_decay=0.02,
        average=0.997,
    )


@dataclass(frozen=True)
class Labels:
    """What a picture shows: its scene, where the face is (x0, y0, x1, y1), pixels, and the attributes to be seen."""

    scene: world.Scene
    face_box: tuple[float, float, float, float]
    legible: frozenset[str]


def labels_of(scene: world.Scene, render: world.Render) -> Labels:
    return Labels(scene, tuple(render.face_box), frozenset(legible(render)))


@cache
def decoded_labels(number: int) -> Labels:
    """Of decoded picture `number`; it is drawn again for that once."""
    scene = decoded_scene(number)
    return labels_of(scene, world.draw(scene))


def decoded_scene(number: int) -> world.Scene:
    """The scene behind decoded picture `number`: first pictures for the UNet, then figures, then frames of clips."""
    if number < SHARDS * SHARD:
        return scene(number)
    number -= SHARDS * SHARD
    if number < FIGURES * SHARD:
        return figure(number)
    clip_number, frame = divmod(number - FIGURES * SHARD, len(CLIP_FRAMES))
    look, shots = clip(clip_number)
    return world.Scene(look, shots[CLIP_FRAMES[frame]])


def figure(number: int) -> world.Scene:
    """A whole figure."""
    rng = np.random.default_rng((SEED, 2, number))
    framing = "full" if rng.random() < FULL_SHARE else "half"
    return world.Scene(random_look(rng), random_shot(rng, framing=framing))


def decoded_pictures(folder: Path) -> np.ndarray:
    """(N, 128, 128, 3) uint8: what the autoencoder makes of the scenes of the same numbers; made once, part by part."""

    def figures(numbers: range) -> Tensor:
        return as_tensor([world.draw(figure(number)).image for number in numbers])

    encoded = {
        "decoded": latents(folder, SHARDS),
        "decoded-figures": encoded_once(folder, "figures", FIGURES, SHARD, DRAWN_TOGETHER, figures),
        "decoded-clips": clip_latents(folder)[:, list(CLIP_FRAMES)].flatten(0, 1),
    }
    files = {
        folder / f"{name}-{number:03}.npy": part
        for name, all_of_it in encoded.items()
        for number, part in enumerate(all_of_it.split(SHARD))
    }
    for file, part in files.items():
        if not file.exists():
            vae = load_vae(folder)
            with torch.no_grad(), mixed_precision():
                batches = tqdm(part.float().split(TOGETHER), file.stem, unit="batch")
                pictures = np.concatenate([as_pictures(vae.decode(few).sample) for few in batches])
            with unfinished_file(file) as unfinished, unfinished.open("wb") as stream:
                np.save(stream, pictures)
    return np.concatenate([np.load(file) for file in files])


def loss(decoded: np.ndarray, reader: nn.Module, draws: Draws) -> tuple[Tensor, dict[str, float]]:
    rng = draws.numpy
    numbers = rng.integers(len(decoded), size=DECODED)
    scenes = [world.random_scene(rng, "ink" if rng.random() < 0.5 else "soft") for _ in range(BATCH - DECODED)]
    renders = [world.draw(one) for one in scenes]
    labels = [decoded_labels(int(number)) for number in numbers]
    labels += [labels_of(scene, render) for scene, render in zip(scenes, renders, strict=True)]
    scenes = [one.scene for one in labels]
    seen = [degrade(rng, picture) if rng.random() < 0.5 else picture for picture in decoded[numbers]]
    images = as_tensor([*seen, *(degrade(rng, one.image) for one in renders)])
    boxes = np.array([one.face_box for one in labels], np.float32)
    if rng.random() < 0.5:  # mirrored, everybody is still who they are
        images = images.flip(-1)
        boxes[:, [0, 2]] = images.shape[-1] - boxes[:, [2, 0]]
    size = boxes[:, 2:] - boxes[:, :2]
    boxes = boxes + np.tile(size, 2) * rng.normal(0, 0.04, (BATCH, 4)).astype(np.float32)
    with mixed_precision():
        crops = head_crops(images, torch.from_numpy(boxes))
        answers = {name: answer.float() for name, answer in reader(crops).items()}
        where = reader.places(images).float()
    counts = [one.legible for one in labels]
    total, right, asked = F.cross_entropy(where, places(scenes)), 0, 0
    for name, answer in answers.items():
        use = torch.tensor([name in names for names in counts])
        if not use.any():
            continue
        if name in COLOURS:
            rgb = torch.tensor([getattr(one.look, name) for one in scenes])[use] / 127.5 - 1
            total = total + COLOUR_WEIGHT * F.smooth_l1_loss(answer[use], rgb, beta=0.1)
        else:
            index = kinds(name, scenes)[use]
            total = total + WEIGHTS.get(name, 1.0) * F.cross_entropy(answer[use], index)
            right += (answer[use].argmax(1) == index).sum().item()
            asked += len(index)
    return total, {"right": right / asked}


def strangers(way: str, seed: int, count: int, style: str = "soft") -> list[world.Render]:
    """Drawings of people held out from training, seen in one of WAYS_TO_SEE."""
    rng, framings = np.random.default_rng(seed), WAYS_TO_SEE[way]
    return [
        world.render(random_look(rng, held_out=True), random_shot(rng, framing=framings[number % 2], style=style))
        for number in range(count)
    ]


def legible(render: world.Render) -> set[str]:
    """The attributes that this picture shows."""
    x0, y0, x1, y1 = render.face_box
    side = render.image.shape[0]
    inside = max(0, min(x1, side) - max(x0, 0)) * max(0, min(y1, side) - max(y0, 0))
    if inside < 0.8 * (x1 - x0) * (y1 - y0):
        return set()
    hidden = set() if shows_shirt(render.face_box, side) else {"shirt", "pattern"}
    return {"noun", *attributes(render.look)} - hidden


def kinds(name: str, scenes: list[world.Scene]) -> Tensor:
    options = NOUNS if name == "noun" else KINDS[name]
    return torch.tensor([options.index(getattr(one.look, name)) for one in scenes])


def places(scenes: list[world.Scene]) -> Tensor:
    """A crop of a face says nothing of the place, and is not asked for it."""
    return torch.tensor([PLACE_NAMES.index(NOWHERE if one.crop else one.shot.place) for one in scenes])


@torch.no_grad()
def report(vae: nn.Module, reader: nn.Module, folder: Path) -> dict[str, float]:
    """Held-out people as the autoencoder leaves them, whole and heads alone: the share of each attribute read right.

    Colours count by their names.
    """
    figures = {}
    for way in WAYS_TO_SEE:
        renders = strangers(way, 17, 300)
        drawn = as_tensor([one.image for one in renders])
        images = torch.cat([vae.decode(vae.encode(few).latent_dist.mode()).sample for few in drawn.split(4)]).clamp(
            -1, 1
        )
        boxes = torch.tensor([one.face_box for one in renders])
        answers = reader(head_crops(images, boxes))
        where = reader.places(images).argmax(1)
        figures[f"{way}, place"] = np.mean(
            [PLACE_NAMES[index] == one.shot.place for index, one in zip(where, renders, strict=True)]
        )
        shown = [legible(one) for one in renders]
        looks = [look_of(answers, number) for number in range(len(renders))]
        for name in answers:
            use = [number for number in range(len(renders)) if name in shown[number]]
            if use:
                figures[f"{way}, {name}"] = np.mean([same(name, renders[n].look, looks[n]) for n in use])
    return figures
