"""What nodes tell the page: small, whatever was trained or found."""

import math

import numpy as np
import pytest
import torch
from vcd_pack.nodes.host import page
from vcd_pack.nodes.host.face_timeline import face_timeline
from vcd_pack.nodes.host.page import TrainingNews, curve, picture_url
from vcd_pack.vcd_core.faces import Track


@pytest.mark.parametrize("steps", [1, 199, 200, 201, 1000, 4321])
def test_a_curve_is_short_and_keeps_its_ends_and_its_mean(steps):
    losses = np.linspace(1, 0.5, steps)
    drawn = curve(losses)
    assert min(steps, 100) <= len(drawn) <= 200
    assert drawn == sorted(drawn, reverse=True)
    assert drawn[0] == pytest.approx(1, abs=0.01)
    weights = [len(part) for part in np.array_split(losses, len(drawn))]
    assert np.average(drawn, weights=weights) == pytest.approx(losses.mean(), abs=0.01)


def test_a_curve_has_only_numbers_that_json_has():
    assert curve([0.5, math.nan, math.inf, 0.25]) == [0.5, 0.25]
    assert curve([]) == []


@pytest.mark.parametrize("shape", [(4, 4, 3), (96, 96, 3), (512, 300, 3), (2048, 1024, 3)])
def test_a_picture_is_small(shape):
    url = picture_url(torch.rand(*shape, generator=torch.Generator().manual_seed(0)))
    assert url.startswith("data:image/jpeg;base64,")
    assert len(url) < 15_000


@pytest.fixture
def told(monkeypatch) -> list[dict]:
    """What would have been sent."""
    sent = []
    monkeypatch.setattr(page, "tell_page", lambda event, content: sent.append(content))
    return sent


def test_news_of_a_training_come_once_a_second_and_with_every_sample(told, monkeypatch):
    clock = iter(np.arange(0, 100, 0.4).tolist())  # a look at the clock each step
    monkeypatch.setattr(page.time, "monotonic", lambda: next(clock))
    news = TrainingNews(20, 10, torch.rand(12, 4, 8, 8))
    for step in range(11, 21):
        news.tell(step, [0.1] * step, torch.rand(8, 8, 3) if step == 15 else None)
    assert [one["step"] for one in told] == [11, 14, 15, 18, 20]
    assert [one["step"] for one in told if "photos" in one] == [11, 15]
    assert len(told[0]["photos"]) == 8
    assert [len(one["samples"]) for one in told if "samples" in one] == [0, 1]
    assert told[0]["seconds_left"] == round(0.4 * 9)  # of this run's own steps, not of those before it
    assert told[-1]["seconds_left"] == 0


def test_outside_a_server_nothing_is_told():
    page.tell_page("training", {"step": 1})


def track(first: int, seen: list[bool]) -> Track:
    boxes = np.tile(np.array([10.0, 20.0, 40.0, 60.0]), (len(seen), 1))
    return Track(first, boxes, np.array(seen), np.zeros((len(seen), 5, 2)), None, 0)


def test_a_timeline_says_where_a_face_was_found_and_shows_it_before_and_after():
    dark, light = torch.zeros(8, 8, 3), torch.ones(8, 8, 3)
    seen = [True, True, False, False, True, False, True]
    pairs = [[torch.cat([dark, light], 1)] * len(seen)]
    timeline = face_timeline(20, [12], [track(3, seen)], pairs)
    (face,) = timeline["faces"]
    assert (timeline["frames"], timeline["cuts"]) == (20, [12])
    assert face["span"] == [3, 10]
    assert face["seen"] == [[3, 5], [7, 8], [9, 10]]
    assert (face["name"], face["pixels"]) == ("(25, 40)", 40)
    assert [pair["frame"] for pair in face["pairs"]] == [3, 4, 5, 7, 8, 9]
    assert {(pair["before"], pair["after"]) for pair in face["pairs"]} == {(picture_url(dark), picture_url(light))}


def test_a_timeline_of_many_faces_stays_small_and_one_of_none_is_one():
    pairs = [torch.rand(256, 512, 3).half()] * 16
    many = face_timeline(16, [], [track(0, [True] * 16)] * 40, [pairs] * 40)
    assert len(many["faces"]) == 12
    assert sum(len(face["pairs"]) for face in many["faces"]) == 24
    assert len(str(many)) < 1_500_000
    assert face_timeline(16, [], [track(0, [True])], [])["faces"][0]["pairs"] == []
    assert face_timeline(16, [], [], [])["faces"] == []
