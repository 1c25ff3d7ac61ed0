"""The face detector of the demo world, trained on drawings of nobody, of one and of several."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vcd_core.vision.drawn_faces import LANDMARKS, STRIDE, TYPICAL_FACE, DrawnFaceDetector

from .. import world
from ..appearance import random_look
from ..shots import random_shot
from ..tensors import mixed_precision
from ..train import Draws, Stage
from .degrade import degrade

BATCH = 32
BOX_OVERLAP = 0.5


def stage(folder: Path) -> Stage:
    return Stage(DrawnFaceDetector(), loss, report, steps=4000, learning_rate=2e-3, weight_decay=0.01, average=0.995)


def crowd(rng: np.random.Generator, held_out: bool = False) -> list[world.Render]:
    """One to three people, or a crop of one."""
    style = "ink" if rng.random() < 0.3 else "soft"
    if rng.random() < 0.6 and not held_out:
        return [world.draw(world.random_scene(rng, style))]
    first = random_shot(rng, style=style)
    places = rng.permutation([0.2, 0.5, 0.8])[: rng.integers(1, 4)]
    people = []
    for x in places:
        shot = random_shot(rng, first.place, first.framing, style)
        shot = replace(shot, view=first.view, seed=first.seed)
        shot = replace(shot, x=shot.x if len(places) == 1 else float(x + rng.uniform(-0.08, 0.08)))
        people.append((random_look(rng, held_out=held_out), shot))
    return world.render_group(people)


def seen(renders: list[world.Render]) -> list[world.Render]:
    """Those whose face's middle is in the picture and not covered by somebody else's face."""
    found = []
    for number, one in enumerate(renders):
        x, y = middle(one.face_box)
        side = one.image.shape[0]
        covered = any(
            other.face_box[0] < x < other.face_box[2] and other.face_box[1] < y < other.face_box[3]
            for other in renders[number + 1 :]
        )
        if 0 <= x < side and 0 <= y < side and not covered:
            found.append(one)
    return found


def middle(box: tuple[float, float, float, float]) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def loss(detector: nn.Module, draws: Draws) -> tuple[Tensor, dict[str, float]]:
    rng = draws.numpy
    images, heats, wanted, where = [], [], [], []
    for number in range(BATCH):
        if rng.random() < 0.06:
            image, faces = world.empty_place(rng, "ink" if rng.random() < 0.3 else "soft"), []
        else:
            renders = crowd(rng)
            image, faces = renders[0].image, seen(renders)
        images.append(degrade(rng, image))
        heat, targets, cells = target(faces, image.shape[0] // STRIDE)
        heats.append(heat)
        wanted += targets
        where += [(number, *cell) for cell in cells]
    pictures = torch.from_numpy(np.stack(images)).movedim(-1, 1).float() / 255
    heat = torch.from_numpy(np.stack(heats))
    with mixed_precision():
        maps = detector(pictures).float()
    logits = maps[:, 0]
    certain = heat == 1
    # CenterNet, equation 1: the focal loss, softened about the middles.
    near = F.logsigmoid(logits) * (1 - logits.sigmoid()) ** 2 * certain
    far = F.logsigmoid(-logits) * logits.sigmoid() ** 2 * (1 - heat) ** 4 * ~certain
    focal = -(near + far).sum() / max(1, len(wanted))
    if not wanted:
        return focal, {"heat": focal.detach(), "box": 0.0}
    number, row, column = torch.tensor(where).T
    box = F.l1_loss(maps[number, 1:, row, column], torch.tensor(np.stack(wanted)))
    return focal + 5 * box, {"heat": focal.detach(), "box": box.detach()}


def target(faces: list[world.Render], side: int) -> tuple[np.ndarray, list[np.ndarray], list[tuple[int, int]]]:
    """The heat map (side, side), and for each face its 14 numbers and its cell (row, column)."""
    heat = np.zeros((side, side), np.float32)
    targets, cells = [], []
    rows, columns = np.mgrid[:side, :side]
    for face in faces:
        x0, y0, x1, y1 = face.face_box
        x, y = (value / STRIDE for value in middle(face.face_box))
        row, column = int(y), int(x)
        spread = max(1.0, min(x1 - x0, y1 - y0) / STRIDE / 8)
        blob = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * spread**2))
        heat = np.maximum(heat, blob.astype(np.float32))
        size = np.log(np.array([x1 - x0, y1 - y0]) / TYPICAL_FACE)
        points = (face.landmarks - (np.array([column, row]) + 0.5) * STRIDE) / TYPICAL_FACE
        targets.append(np.concatenate([[x - column, y - row], size, points.ravel()]).astype(np.float32))
        cells.append((row, column))
    return heat, targets, cells


def overlap(a: tuple, b: tuple) -> float:
    """Intersection over union of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


@torch.no_grad()
def report(detector: nn.Module, folder: Path) -> dict[str, float]:
    """On 200 pictures with people held out from training: faces found, findings that are faces, and how exactly."""
    rng = np.random.default_rng(13)
    found = right = faces_in_all = 0
    overlaps, distances = [], []
    for _ in range(200):
        faces = seen(renders := crowd(rng, held_out=True))
        image = torch.from_numpy(renders[0].image).movedim(-1, 0)[None].float() / 255
        guesses = detector.detect(image)[0]
        faces_in_all += len(faces)
        found += len(guesses)
        for face in faces:
            best = max(guesses, key=lambda guess: overlap(guess.box, face.face_box), default=None)
            if best is not None and overlap(best.box, face.face_box) > BOX_OVERLAP:
                right += 1
                overlaps.append(overlap(best.box, face.face_box))
                width = face.face_box[2] - face.face_box[0]
                distances.append(np.linalg.norm(best.landmarks.numpy() - face.landmarks, axis=1).mean() / width)
    assert len(world.LANDMARKS) == LANDMARKS
    return {
        "recall": right / faces_in_all,
        "precision": right / max(1, found),
        "overlap": np.mean(overlaps or [0]),
        "landmark_error": np.mean(distances or [1]),
    }
