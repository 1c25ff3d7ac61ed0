"""The demo world as the identity benchmark knows it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from demo import benchmark, world
from demo.benchmark import DemoWorld, open_world
from demo.evaluate import character
from demo.people import PHOTO_PLACES
from demo.shots import random_clip

SUBJECT = "character03"


@pytest.fixture(scope="module")
def demo_world() -> DemoWorld:
    return open_world({"frames": 2, "steps": 1}, steps=1)


def drawn(place: str, number: int) -> torch.Tensor:
    """Two frames of a character, drawn by the world itself."""
    shots = random_clip(np.random.default_rng(1), "wave", 2, place, "half")
    return torch.stack([torch.from_numpy(world.render(character(number), shot).image).float() / 255 for shot in shots])


def test_scores_tell_who_is_to_be_seen_and_where(demo_world):
    prompt = "a photo of {} on the moon"
    right = demo_world.score(SUBJECT, prompt, drawn("on the moon", 3))
    leaked = demo_world.score(SUBJECT, prompt, drawn(PHOTO_PLACES[0], 3))
    other = demo_world.score(SUBJECT, prompt, drawn("on the moon", 4))
    assert right.keys() == DemoWorld.scores.keys()
    assert (right["place right"], right["leak"]) == (1.0, 0.0)
    assert (leaked["place right"], leaked["leak"]) == (0.0, 1.0)
    assert right["similarity"] > 0.9 > 0.75 > other["similarity"]


@pytest.mark.parametrize(("stage", "side"), [("t2v", 128), ("face", 128), ("tiled", 256)])
def test_a_clip_goes_as_far_as_it_is_asked_to(stage, side, demo_world):
    model = demo_world.model("soft")
    clip = demo_world.clip(model, ["a woman"], "a portrait of {} on a beach", 0, 0.1, stage)
    assert clip.shape == (2, side, side, 3)
    assert set(demo_world.score(SUBJECT, "a portrait of {} on a beach", clip)) == set(DemoWorld.scores)


def test_a_stage_of_other_settings_makes_other_clips_and_so_does_what_comes_behind_it(demo_world, monkeypatch):
    before = [demo_world.settings_of(stage, "soft") for stage in ("t2v", "face", "tiled")]
    monkeypatch.setattr(benchmark, "OPTIONS", replace(benchmark.OPTIONS, overlap=16))
    assert [demo_world.settings_of(stage, "soft") for stage in ("t2v", "face")] == before[:2]
    assert demo_world.settings_of("tiled", "soft") != before[2]
    monkeypatch.undo()
    monkeypatch.setattr(benchmark, "CROP", replace(benchmark.CROP, margin=3.0))
    assert demo_world.settings_of("t2v", "soft") == before[0]
    assert demo_world.settings_of("face", "soft") != before[1]
    assert demo_world.settings_of("tiled", "soft") != before[2]


def test_more_frames_than_the_motion_module_knows_are_refused():
    with pytest.raises(ValueError, match="frames at most"):
        open_world({"frames": 1000}, None)
