"""Faces over time: constructed movements with known answers."""

import numpy as np
import pytest
import torch

from vcd_core.faces import (
    ALL,
    CutFinder,
    Track,
    TrackOptions,
    choose_tracks,
    reference_embedding,
    smoothed,
    track_faces,
)
from vcd_core.faces.choice import ORDERS
from vcd_core.vision import Face


def face(x, y, size=40.0, who=None):
    embedding = None if who is None else torch.nn.functional.normalize(torch.tensor(who, dtype=torch.float32), dim=0)
    return Face((x - size / 2, y - size / 2, x + size / 2, y + size / 2), 0.9, None, embedding)


def middles(track: Track) -> np.ndarray:
    return (track.boxes[:, :2] + track.boxes[:, 2:]) / 2


# --- smoothing ------------------------------------------------------------------------------------------


def test_movement_at_constant_speed_passes_unchanged():
    line = np.arange(30)[:, None] * [1.5, -4] + [10, 300]
    np.testing.assert_allclose(smoothed(line, np.ones(30), 12), line, atol=1e-8)


@pytest.mark.parametrize("period", [6.0, 12.0, 30.0])
def test_an_oscillation_at_the_period_is_halved_and_not_delayed(period):
    """In the middle of a long path, away from its ends; a phase would show in the sine's other quadrature."""
    time = np.arange(601)
    wave = np.sin(2 * np.pi * (time - 300) / period)[:, None]
    middle = slice(300 - int(3 * period), 300 + int(3 * period))
    kept = smoothed(wave, np.ones(601), period)[middle, 0]
    assert kept @ wave[middle, 0] / (wave[middle, 0] @ wave[middle, 0]) == pytest.approx(0.5, abs=1e-3)
    other = np.cos(2 * np.pi * (time - 300) / period)[middle]
    assert abs(kept @ other) / (other @ other) < 1e-3


def test_smoothing_is_the_minimum_it_promises():
    """Against a dense least-squares solution of the same penalty."""
    rng = np.random.default_rng(0)
    values, weights = rng.normal(size=(40, 2)), rng.choice([0.0, 1.0], 40, p=(0.3, 0.7))
    strength = 1 / (2 - 2 * np.cos(2 * np.pi / 9)) ** 2
    second = np.diff(np.eye(40), 2, axis=0)
    expected = np.linalg.solve(np.diag(weights) + strength * second.T @ second, weights[:, None] * values)
    np.testing.assert_allclose(smoothed(values, weights, 9), expected, atol=1e-8)


def test_what_is_not_known_lies_between_what_is():
    values = np.array([[0.0], [np.nan], [np.nan], [3.0], [4.0]])
    np.testing.assert_allclose(smoothed(values, [1, 0, 0, 1, 1], 6)[:, 0], np.arange(5), atol=1e-8)


@pytest.mark.parametrize("count", [1, 2])
def test_a_path_of_one_or_two_frames_stays(count):
    values = np.array([[3.0, 4.0], [9.0, 1.0]])[:count]
    np.testing.assert_array_equal(smoothed(values, np.ones(count), 12), values)


# --- tracks ---------------------------------------------------------------------------------------------


def test_every_face_is_followed_over_its_frames():
    """Two faces on their ways, the second entering later."""
    found = [[face(20 + 6 * t, 50)] + ([face(300, 40 + 3 * t)] if t >= 5 else []) for t in range(20)]
    first, second = track_faces(found)[0]
    assert (first.frames, second.frames) == (range(20), range(5, 20))
    assert (first.seen.all(), second.seen.all()) == (True, True)
    np.testing.assert_allclose(middles(first), [[20 + 6 * t, 50] for t in range(20)])
    np.testing.assert_allclose(middles(second), [[300, 40 + 3 * t] for t in range(5, 20)])


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("known", [True, False], ids=["recognised", "by speed alone"])
def test_two_people_who_cross_keep_their_tracks(order, known):
    """They pass through each other; while one hides the other, one face alone is found."""
    found = []
    for t in range(31):
        one, two = (
            face(40 + 8 * t, 100, who=[1, 0.1] if known else None),
            face(280 - 8 * t, 104, who=[0.1, 1] if known else None),
        )
        hidden = abs(one.box[0] - two.box[0]) < 18
        found.append([one] if hidden else [one, two][::order])
    tracks, left_out = track_faces(found)
    assert len(tracks) == 2
    assert not left_out
    by_start = sorted(tracks, key=lambda track: middles(track)[0, 0])
    assert middles(by_start[0])[-1, 0] == 280
    assert middles(by_start[1])[-1, 0] == 40
    assert by_start[0].seen.all()
    gap = np.flatnonzero(~by_start[1].seen)
    np.testing.assert_allclose(middles(by_start[1])[gap], [[280 - 8 * t, 104] for t in gap])


def test_somebody_else_in_the_same_place_is_another_track():
    """The first turns away, the second steps in."""
    found = [[face(100, 100, who=[1, 0, 0])] if t < 8 else [face(104, 98, who=[0, 1, 0])] for t in range(16)]
    tracks = track_faces(found)[0]
    assert [track.frames for track in tracks] == [range(8), range(8, 16)]


@pytest.mark.parametrize(("gap", "tracks"), [(12, 1), (13, 2)])
def test_a_gap_is_bridged_up_to_a_limit(gap, tracks):
    found = [[face(100 + 2 * t, 80)] if t < 6 or t >= 6 + gap else [] for t in range(12 + gap)]
    joined = track_faces(found)[0]
    assert len(joined) == tracks
    if tracks == 1:
        assert (~joined[0].seen).sum() == gap
        np.testing.assert_allclose(middles(joined[0])[:, 0], 100 + 2 * np.arange(12 + gap))


def test_a_cut_ends_every_track():
    found = [[face(100, 100)]] * 20
    tracks = track_faces(found, cuts=[7])[0]
    assert [(track.frames, track.shot) for track in tracks] == [(range(7), 0), (range(7, 20), 1)]


def test_errors_and_small_faces_are_left_out_and_said():
    found = [[face(100, 100), *([face(300, 50)] if t == 4 else []), face(200, 200, size=12)] for t in range(10)]
    (track,), left_out = track_faces(found)
    assert track.centre.tolist() == [100, 100]
    assert len(left_out) == 2
    assert any("found in 1 of 10 frames" in line for line in left_out)
    assert any("12 pixels large, less than 16" in line for line in left_out)


@pytest.mark.parametrize("count", [1, 2])
def test_a_short_clip_needs_no_more_than_it_has(count):
    assert len(track_faces([[face(50, 50)]] * count)[0]) == 1


def test_no_faces_no_tracks():
    assert track_faces([[], [], []]) == ([], [])
    assert track_faces([]) == ([], [])


# --- cuts -----------------------------------------------------------------------------------------------


def scene(kind, frames):
    rng = np.random.default_rng(kind)
    wide = torch.from_numpy(np.repeat(np.repeat(rng.random((4, 12, 3)), 24, 0), 24, 1)).float()
    return [wide[:, 4 * t : 4 * t + 128] for t in range(frames)]  # a fast pan


@pytest.mark.parametrize("flash", [False, True])
def test_cuts_are_found_and_movement_and_flashes_are_none(flash):
    frames = scene(1, 12) + scene(2, 9) + scene(3, 10)
    if flash:
        frames[5] = (frames[5] + 0.7).clamp(max=1)
    finder = CutFinder()
    for frame in frames:
        finder.add(frame)
    assert finder.cuts() == [12, 21]


# --- choice ---------------------------------------------------------------------------------------------


def tracks_of(*faces, cuts=()):
    found = [list(faces)] * 10
    return track_faces(found, cuts, TrackOptions())[0]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("largest first", [150, 60, 250]),
        ("left to right", [60, 150, 250]),
        ("top to bottom", [250, 60, 150]),
        ("nearest the middle", [150, 60, 250]),
    ],
)
def test_faces_are_counted_in_an_order(order, expected):
    assert order in ORDERS
    tracks = tracks_of(face(60, 90, 50), face(150, 100, 60), face(250, 30, 40))
    for index, x in enumerate(expected):
        (chosen,), left_out = choose_tracks(tracks, (200, 300), order=order, index=index)
        assert chosen.centre[0] == x
        assert len(left_out) == 2
    assert len(choose_tracks(tracks, (200, 300), order=order, index=ALL)[0]) == 3
    assert choose_tracks(tracks, (200, 300), order=order, index=3)[0] == []


@pytest.mark.parametrize("order", ORDERS)
def test_faces_that_are_equal_have_numbers_of_their_own(order):
    """As boxes and masks in whole pixels often are."""
    tracks = tracks_of(face(150, 100), face(150, 100))
    chosen = [choose_tracks(tracks, (200, 300), order=order, index=index)[0] for index in (0, 1)]
    assert [len(one) for one in chosen] == [1, 1]
    assert chosen[0][0] is not chosen[1][0]


def test_somebody_who_was_hidden_keeps_her_number():
    """Two tracks of one person, one after the other, are not two people."""
    found = [[face(60, 90, 50)] if not 30 <= t < 50 else [] for t in range(100)]
    tracks = track_faces(found)[0]
    assert len(tracks) == 2
    assert choose_tracks(tracks, (200, 300), index=0) == (tracks, [])
    assert choose_tracks(tracks, (200, 300), index=1)[0] == []


def test_a_short_shot_in_a_long_clip_has_its_faces():
    found = [[face(100, 100)] if 50 <= t < 52 else [] for t in range(100)]
    assert len(track_faces(found, cuts=[50, 52])[0]) == 1
    assert len(track_faces(found)[0]) == 0


def test_a_choice_is_made_in_every_shot_anew():
    tracks = tracks_of(face(60, 90, 50), face(150, 100, 60), cuts=[5])
    chosen, _ = choose_tracks(tracks, (200, 300), index=0)
    assert [(track.centre[0], track.shot) for track in chosen] == [(150, 0), (150, 1)]


def test_a_reference_chooses_by_likeness():
    tracks = tracks_of(face(60, 90, who=[1, 0, 0.1]), face(150, 100, who=[0, 1, 0.1]))
    chosen, left_out = choose_tracks(tracks, (200, 300), reference=np.array([0.05, 1, 0]))
    assert [track.centre[0] for track in chosen] == [150]
    assert "somebody else" in left_out[0]
    sister = tracks_of(face(60, 90, who=[0.5, 1, 0.1]), face(150, 100, who=[0, 1, 0.1]))
    assert [track.centre[0] for track in choose_tracks(sister, (200, 300), reference=np.array([0.0, 1, 0]))[0]] == [150]
    with pytest.raises(ValueError, match="choose insightface"):
        choose_tracks(tracks_of(face(60, 90)), (200, 300), reference=np.array([1.0, 0, 0]))
    with pytest.raises(ValueError, match="largest first, left to right"):
        choose_tracks(tracks, (200, 300), order="biggest")


@pytest.mark.parametrize(
    ("faces", "message"),
    [
        ([], "shows no face"),
        ([face(20, 20, who=[1, 0]), face(60, 20, who=[0, 1])], "shows 2 faces"),
        ([face(20, 20)], "choose insightface"),
        ([face(20, 20), face(60, 20)], "choose insightface"),
    ],
)
def test_a_reference_shows_one_person_to_a_detector_that_knows_people(faces, message):
    class Found:
        def detect(self, images):
            assert images.shape == (1, 3, 40, 80)
            return [faces]

    with pytest.raises(ValueError, match=message):
        reference_embedding(Found(), torch.zeros(40, 80, 4))


def test_a_reference_is_what_the_detector_makes_of_it():
    class Found:
        def detect(self, images):
            return [[face(20, 20, who=[3, 4])]]

    np.testing.assert_allclose(reference_embedding(Found(), torch.zeros(40, 80, 3)), [0.6, 0.8], rtol=1e-6)
