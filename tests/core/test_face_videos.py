"""Real faces in real videos, by a real detector: what tracking and cropping make of them."""

from functools import cache
from itertools import islice

import numpy as np
import pytest
import torch
from registry_material import CENTERFACE, NO_FACE, TALKING_FACE, material

from vcd_core.faces import CropOptions, FaceJob, RefineOptions, find_faces, plan_faces, refine_faces
from vcd_core.video import read_video
from vcd_core.vision import load_centerface

CROP = CropOptions(size=256)
WORKING_SIZE = 320


@cache
def clip(member: tuple[str, str], frames: int) -> tuple[torch.Tensor, ...]:
    return tuple(islice(read_video(material(*member)), frames))


@cache
def plan(member: tuple[str, str], frames: int):
    detector = load_centerface(material(*CENTERFACE), size=WORKING_SIZE)
    return plan_faces(find_faces(clip(member, frames), detector), CROP)


def test_a_talking_man_is_one_calm_track():
    found = plan(TALKING_FACE, 48)
    (track,), (path,) = found.tracks, found.paths
    assert track.frames == range(48)
    assert track.seen.mean() >= 0.98
    middles = (track.boxes[:, :2] + track.boxes[:, 2:]) / 2
    jitter = [np.sqrt((np.diff(one, 2, axis=0) ** 2).sum(1).mean()) for one in (path.centres, middles)]
    assert jitter[0] <= 0.25 * jitter[1]


def test_his_face_comes_back_as_it_was():
    found, frames = plan(TALKING_FACE, 48), clip(TALKING_FACE, 48)
    jobs = [FaceJob(path, lambda clip, mask, noise, strength: clip) for path in found.paths]
    large = CropOptions(size=512)
    assert found.paths[0].sides.max() < 512  # so the crop is enlarged
    for frame, result in zip(frames[:20], islice(refine_faces(frames, jobs, large, RefineOptions()), 20), strict=True):
        assert torch.equal(result.image[result.mask == 0], frame[result.mask == 0])
        assert -10 * (result.image - frame)[result.mask > 0].square().mean().log10() >= 45


def test_a_film_without_a_face_has_none():
    found = plan(NO_FACE, 16)
    assert not found.paths
    assert found.report[0] == "16 frames; faces in 0 of them; 0 to be drawn anew"


@pytest.mark.parametrize("speed", [2.0])
def test_a_real_face_that_crosses_quickly_stays_in_a_tight_square(speed):
    """The talking man slides through a wider picture."""
    frames = []
    for t, frame in enumerate(clip(TALKING_FACE, 16)):
        wide = torch.full((360, 1100, 3), 0.5)
        start = int(8 * speed * t)
        wide[:, start : start + 640] = frame
        frames.append(wide)
    detector = load_centerface(material(*CENTERFACE), size=480)
    found = plan_faces(find_faces(frames, detector), CROP)
    (track,), (path,) = found.tracks, found.paths
    assert track.seen.mean() >= 0.98
    need = (CROP.margin * (track.boxes[:, 2:] - track.boxes[:, :2]).max(1)) ** 2
    assert (path.sides**2 <= 1.3 * need).all()
