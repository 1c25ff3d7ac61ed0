"""Views of photos: what is done to the picture is done to its mask, and the words say it."""

from collections import Counter

import pytest
import torch
from torch.testing import assert_close

from vcd_core.identity import Augmentation, Photo, draw_views
from vcd_core.identity.augmentation import GREY, rotated

SIZE = 48
STILL = {"whole": 0, "mirrored": 0, "turned": 0, "enlarged": 0}


def disc(height=80, width=60, row=40, column=30, radius=12):
    """A white disc on black, which is the subject."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    mask = ((rows - row) ** 2 + (columns - column) ** 2 <= radius**2).float()
    return Photo("disc", mask[:, :, None].repeat(1, 1, 3), mask)


def views_of(photo, seed=0, **changes):
    return draw_views([photo], SIZE, Augmentation(**changes), torch.Generator().manual_seed(seed))


def test_image_and_mask_move_together():
    views = views_of(disc(), views=200, whole=0)
    shown = views.images * 0.5 + 0.5
    subject = views.masks > 0.99
    assert (shown[subject.expand_as(shown)] > 0.9).all()
    around = shown[(views.masks < 0.01).expand_as(shown)]
    assert (around < GREY + 0.1).all()


@pytest.mark.parametrize("place", [(1, 1), (78, 1), (1, 58), (40, 30)])
@pytest.mark.parametrize("radius", [1, 25])
def test_no_mask_is_ever_empty_and_half_of_the_subject_stays(place, radius):
    photo = disc(row=place[0], column=place[1], radius=radius)
    plain = draw_views([photo], SIZE, None, torch.Generator()).masks[0].sum()
    views = views_of(photo, views=150, whole=0)
    near = torch.tensor([word.startswith(("zoomed", "close")) for word in views.words])
    areas = views.masks.sum(dim=(1, 2, 3))
    assert (areas > 0).all()
    assert (
        areas[near] > 0.4 * plain
    ).all()  # half of a rotated one of which half may have left; enlarged by 1.2 or more


@pytest.mark.parametrize("shape", ["opposite corners", "left and right edges", "thin frame"])
def test_a_subject_that_no_window_shows_half_of_is_shown_whole(shape):
    mask = torch.zeros(60, 60)
    if shape == "opposite corners":
        mask[:4, :4] = mask[-4:, -4:] = 1
    elif shape == "left and right edges":
        mask[:, :2] = mask[:, -2:] = 1
    else:
        mask[[0, -1]] = mask[:, [0, -1]] = 1
    photo = Photo(shape, mask[:, :, None].repeat(1, 1, 3), mask)
    plain = draw_views([photo], SIZE, None, torch.Generator()).masks[0].sum()
    views = views_of(photo, views=100, **STILL | {"enlarged": 1}, enlargements=(1.4, 1.4))
    assert (views.masks.sum(dim=(1, 2, 3)) > 0.45 * plain).all()


def test_words_say_how_near_it_is_as_often_as_the_released_code_does():
    count = 3000
    views = draw_views([disc(8, 8, 4, 4, 2)], 8, Augmentation(views=count), torch.Generator().manual_seed(1))
    shares = {word: number / count for word, number in Counter(views.words).items()}
    far = 2 / 3 * (0.6 - 1 / 3) / (1 - 1 / 3)
    expected = {"a far away ": far / 2, "very small ": far / 2, "zoomed in ": 1 / 6, "close up ": 1 / 6}
    expected[""] = 1 - sum(expected.values())
    assert shares == pytest.approx(expected, abs=0.03)
    whole = (views.masks.mean(dim=(1, 2, 3)) > 0.8).float().mean().item()
    assert whole == pytest.approx(0.05 * (1 - far), abs=0.02)


def test_what_is_far_is_small_and_has_grey_around_it_that_does_not_count():
    whole = Photo("white", torch.ones(60, 60, 3))
    views = views_of(whole, views=50, **STILL | {"enlarged": 0}, reductions=(0.3, 0.5))
    for image, mask in zip(views.images, views.masks, strict=True):
        side = round(mask.sum().item() ** 0.5)
        assert 0.3 * SIZE - 1 <= side <= 0.5 * SIZE + 1
        assert_close(image, mask.expand_as(image), atol=1e-5, rtol=0)  # grey is 0 in [-1, 1]
    corners = {tuple((mask[0] > 0).nonzero()[0].tolist()) for mask in views.masks}
    assert len(corners) > 30


def test_what_is_near_is_a_window_of_the_enlarged_photo():
    ramp = torch.linspace(0, 1, 60)[None, :, None].expand(60, 60, 3)
    views = views_of(Photo("ramp", ramp), views=30, **STILL | {"enlarged": 1}, enlargements=(1.25, 1.25))
    slope = (views.images[:, 0, 24, 1:] - views.images[:, 0, 24, :-1]).mean(dim=1)
    assert_close(slope, torch.full((30,), 2 * 60 / 59 / (1.25 * SIZE)), rtol=0.05, atol=0)
    assert len(views.images[:, 0, 24, 0].unique()) > 5


@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_a_quarter_turn_is_a_quarter_turn(quarter):
    picture = torch.rand(4, 12, 12, generator=torch.Generator().manual_seed(0))
    assert_close(rotated(picture, 90.0 * quarter), picture.rot90(quarter, (1, 2)), atol=1e-4, rtol=0)


def test_what_a_turn_brings_in_is_grey_and_does_not_count():
    turned = rotated(torch.ones(4, 20, 20), 45)
    assert_close(turned[:, 0, 0], torch.tensor([GREY, GREY, GREY, 0]))
    assert_close(turned[:, 10, 10], torch.ones(4))


def test_turns_have_the_spread_that_was_asked_for():
    """A bar through the middle: the angle of its axis in each view."""
    bar = torch.zeros(96, 96)
    bar[46:50, 10:86] = 1
    photo = Photo("bar", bar[:, :, None].repeat(1, 1, 3), bar)
    views = views_of(photo, views=300, **STILL | {"turned": 1}, reductions=(1, 1))
    rows, columns = torch.meshgrid(torch.arange(SIZE) - 23.5, torch.arange(SIZE) - 23.5, indexing="ij")
    mass = views.masks[:, 0]
    moment = (rows * columns * mass).sum((1, 2)), ((columns**2 - rows**2) * mass).sum((1, 2))
    angles = (0.5 * torch.atan2(2 * moment[0], moment[1])).rad2deg()
    assert angles.std().item() == pytest.approx(10, rel=0.15)
    assert angles.mean().abs().item() < 2


def test_without_augmentation_a_photo_is_shown_as_it_is_and_mirrored():
    photos = [disc(), Photo("noise", torch.rand(50, 70, 3), caption="on a beach")]
    views = draw_views(photos, SIZE, None, torch.Generator())
    assert views.images.shape == (4, 3, SIZE, SIZE)
    assert views.words == [""] * 4
    assert [photo.name for photo in views.photos] == ["disc", "disc", "noise", "noise"]
    assert torch.equal(views.images[1::2], views.images[::2].flip(-1))
    assert torch.equal(views.masks[1::2], views.masks[::2].flip(-1))
    assert_close(views.masks[2:], torch.ones(2, 1, SIZE, SIZE))


def test_the_generator_is_the_only_source_of_chance():
    state = torch.random.get_rng_state()
    first, again, other = (views_of(disc(), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.images, again.images)
    assert first.words == again.words
    assert not torch.equal(first.images, other.images)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    "changes", [{"views": 0}, {"turned": 1.5}, {"reductions": (0.9, 1.1)}, {"enlargements": (0.9, 2)}]
)
def test_impossible_augmentations_are_refused(changes):
    with pytest.raises(ValueError, match="must"):
        Augmentation(**changes)


def test_no_photos():
    with pytest.raises(ValueError, match="no photos"):
        draw_views([], SIZE, None, torch.Generator())
