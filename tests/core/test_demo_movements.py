"""The demo world's framings and movements: a clip shows what is said of it, and nothing else moves."""

import numpy as np
import pytest
from drawn import SIZE, every_motion, place_alone, seeded, somebody

from demo import world
from demo.shots import ACTIONS, FRAMINGS, random_clip

STEADY = [action for action in ACTIONS if action != "zoom"]


@pytest.mark.parametrize("framing", FRAMINGS)
def test_the_framing_that_is_said_is_the_one_that_is_drawn(framing):
    words, (low, high), *_ = FRAMINGS[framing]
    for seed in range(12):
        look, action = somebody(seed), STEADY[seed % len(STEADY)]
        shot = random_clip(seeded(seed), action, 4, framing=framing)[seed % 4]
        made = world.render(look, shot)
        assert made.caption.startswith(f"{words} a {look.noun} with ")
        x0, y0, x1, y1 = made.face_box
        assert 1.7 * low < np.sqrt((x1 - x0) * (y1 - y0)) / SIZE < 2.4 * high  # a head is two units high, about
        assert made.mask[-1].any() == (framing not in ("far", "full"))  # whose feet are to be seen


def test_no_two_framings_share_a_size():
    ranges = sorted(limits for _, limits, *_ in FRAMINGS.values())
    assert all(near[0] > far[1] for far, near in zip(ranges, ranges[1:], strict=False))


def moves(values) -> bool:
    """Whether they rise all the time or fall all the time."""
    steps = np.diff(values)
    return bool((steps > 0).all() or (steps < 0).all())


@every_motion
@pytest.mark.parametrize("seed", range(2))
def test_a_clip_moves_what_its_caption_says_and_nothing_else(motion, seed):
    shots = random_clip(seeded(seed), motion, 16, framing="half")
    look = somebody(seed, glasses="none")
    frames = [world.render(look, shot) for shot in shots]
    assert len({frame.image.tobytes() for frame in frames}) == 16
    assert all(ACTIONS[motion] in frame.caption for frame in frames)

    boxes = np.array([frame.face_box for frame in frames])
    widths, middles = boxes[:, 2] - boxes[:, 0], (boxes[:, :2] + boxes[:, 2:]) / 2
    nose = np.stack([frame.landmarks[2] for frame in frames]) - middles
    places = [place_alone(shot).tobytes() for shot in shots]
    stands = {"turn", "nod", "wave"}
    assert (len(set(places)) == 1) == (motion in stands | {"walk"})
    assert (np.ptp(middles, 0).max() < 1e-6) == (motion in stands)
    assert (np.ptp(widths) < 1e-6) == (motion != "zoom")
    assert (np.ptp(nose, 0).max() < 1e-6) == (motion in {"walk", "wave", "drift"})
    if motion == "walk":
        assert moves(middles[:, 0])
        assert (np.diff(middles[:, 0])[0] > 0) == (shots[0].pose.yaw > 0)  # looks where she goes
        assert np.ptp([shot.pose.stride for shot in shots]) > 0.5
    elif motion == "zoom":
        assert moves(widths)
        # Towards the middle of the picture or away from it, as far as she grows.
        assert np.ptp((middles - SIZE / 2) / widths[:, None], 0).max() < 1e-6
    elif motion == "turn":
        assert moves(nose[:, 0])
    elif motion == "nod":
        assert np.ptp(nose[:, 1]) > 0.1 * widths[0]
    elif motion == "wave":
        below = slice(round(boxes[0, 3]) + 30, None)  # the arm is up
        assert all(np.array_equal(frame.image[below], frames[0].image[below]) for frame in frames)
    elif motion == "drift":
        assert moves([shot.view.pan for shot in shots])
        assert len({shot.pose for shot in shots}) == 1
        # She stays where she was, on the nearest ground, while the camera moves on.
        assert np.ptp([shot.x + shot.view.pan * shot.view.zoom for shot in shots]) < 1e-9


def test_one_who_stands_does_not_move():
    shots = random_clip(seeded(1), "stand", 16)
    assert len(set(shots)) == 1
