"""Views of photos: cropped, mirrored, turned, nearer and farther, with the words that say so."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .photos import Photo, cropped

GREY = 0.5
LEAST_SHOWN = 0.5
ATTEMPTS = 8


@dataclass(frozen=True)
class Augmentation:
    """How views are drawn; the defaults are those of the released code of Magic-Me (arXiv:2402.09368).

    The crop of a photo is S pixels wide. A view is drawn at a width of scale * S: enlarged, of which a random window is
    kept; or shrunk. Shrunk a little it is shown whole; below `far_below` it is pasted at a random place on mid-grey,
    where nothing counts.

    Attributes:
        views: of each photo.
        whole: probability that all of the photo counts, not only the subject.
        mirrored: probability of a mirror image.
        turned: probability of a rotation.
        degrees: standard deviation of the rotation.
        enlarged: probability of being enlarged.
        enlargements: smallest and largest scale of these, above 1.
        reductions: smallest and largest scale of the others, up to 1.
        far_below: scale below which a view counts as far away.
        far_words, near_words: one of them opens the prompt of a view far away, or enlarged.
    """

    views: int = 16
    whole: float = 0.05
    mirrored: float = 0.5
    turned: float = 0.7
    degrees: float = 10.0
    enlarged: float = 1 / 3
    enlargements: tuple[float, float] = (1.2, 1.4)
    reductions: tuple[float, float] = (1 / 3, 1.0)
    far_below: float = 0.6
    far_words: tuple[str, ...] = ("a far away ", "very small ")
    near_words: tuple[str, ...] = ("zoomed in ", "close up ")

    def __post_init__(self) -> None:
        chances = (self.whole, self.mirrored, self.turned, self.enlarged)
        if self.views < 1 or not all(0 <= chance <= 1 for chance in chances):
            raise ValueError(f"views must be 1 or more and probabilities lie in [0, 1], got {self}")
        if not (0 < self.reductions[0] <= self.reductions[1] <= 1 <= self.enlargements[0] <= self.enlargements[1]):
            raise ValueError(f"reductions must rise within (0, 1], enlargements from 1, got {self}")


@dataclass(frozen=True)
class Views:
    """Pictures to train on.

    Attributes:
        images: (N, 3, S, S) float32 in [-1, 1].
        masks: (N, 1, S, S) float32 in [0, 1]; none is empty.
        words: N openings of a prompt, such as "very small " or "".
        photos: N photos that they are views of.
    """

    images: Tensor
    masks: Tensor
    words: list[str]
    photos: list[Photo]


def draw_views(
    photos: Sequence[Photo],
    size: int,
    augmentation: Augmentation | None,
    generator: torch.Generator,
    mask_margin: float = 0.0,
) -> Views:
    """Draws the same number of views of every photo, in the photos' order.

    Args:
        size: S of the views, in pixels.
        augmentation: None gives two views of each photo, as it is and mirrored.
        generator: the only source of randomness.
        mask_margin: by how much masks grow, in parts of the cropped square's side.

    Raises:
        ValueError: no photos, or one whose mask shows nothing (see `usable_photos`).
    """
    pictures, words, shown = [], [], []
    for photo in photos:
        if augmentation is None:
            plain = cropped(photo, size, mask_margin)
            drawn = [(plain, ""), (plain.flip(-1), "")]
        else:
            source = cropped(photo, round(augmentation.enlargements[1] * size), mask_margin)
            drawn = [_view(source, size, augmentation, generator) for _ in range(augmentation.views)]
        pictures += [picture for picture, _ in drawn]
        words += [opening for _, opening in drawn]
        shown += [photo] * len(drawn)
    if not pictures:
        raise ValueError("there are no photos to train on: give 5-10 photos of one subject")
    stacked = torch.stack(pictures)
    return Views(stacked[:, :3] * 2 - 1, stacked[:, 3:], words, shown)


def _view(source: Tensor, size: int, how: Augmentation, generator: torch.Generator) -> tuple[Tensor, str]:
    """(4, size, size) in [0, 1], the image and its mask, and how the prompt opens."""

    def chance(probability: float) -> bool:
        return torch.rand((), generator=generator).item() < probability

    def between(low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=generator).item()

    def place(room: int) -> int:
        return int(torch.randint(room + 1, (), generator=generator))

    def one_of(words: tuple[str, ...]) -> str:
        return words[place(len(words) - 1)] if words else ""

    if chance(how.whole):
        source = torch.cat([source[:3], torch.ones_like(source[3:])])
    if chance(how.mirrored):
        source = source.flip(-1)
    if chance(how.turned):
        turned = rotated(source, how.degrees * torch.randn((), generator=generator).item())
        if turned[3].sum() >= LEAST_SHOWN * source[3].sum():
            source = turned
    enlarged = chance(how.enlarged)
    scale = between(*(how.enlargements if enlarged else how.reductions))
    far = scale < how.far_below
    side = round(scale * size) if far or enlarged else size
    picture = resized(source, side)
    if far:
        canvas = torch.cat([torch.full((3, size, size), GREY), torch.zeros(1, size, size)])
        top, left = place(size - side), place(size - side)
        canvas[:, top : top + side, left : left + side] = picture
        return canvas, one_of(how.far_words)
    if enlarged:
        window = _window(picture, size, place)
        return (resized(source, size), "") if window is None else (window, one_of(how.near_words))
    return picture, ""


def _window(picture: Tensor, size: int, place) -> Tensor | None:
    """A random square of (4, side, side) that shows at least half of the subject; None if there seems to be none."""
    room = picture.shape[-1] - size
    windows = [(place(room), place(room)) for _ in range(ATTEMPTS)]
    rows, columns = (picture[3].sum(axis) for axis in (1, 0))
    middles = [(torch.arange(len(sums)) * sums).sum() / sums.sum() for sums in (rows, columns)]
    windows.append(tuple(min(max(round(middle.item() - size / 2), 0), room) for middle in middles))
    for top, left in windows:
        shown = picture[:, top : top + size, left : left + size]
        if shown[3].sum() >= LEAST_SHOWN * picture[3].sum():
            return shown
    return None


def rotated(picture: Tensor, degrees: float) -> Tensor:
    """(4, S, S) turned counter-clockwise about its middle; what comes in is mid-grey and does not count."""
    angle = torch.tensor(degrees).deg2rad()
    turn = torch.stack([angle.cos(), -angle.sin(), angle * 0, angle.sin(), angle.cos(), angle * 0]).view(1, 2, 3)
    grid = F.affine_grid(turn, [1, *picture.shape], align_corners=False)
    offset = torch.tensor([GREY, GREY, GREY, 0]).view(4, 1, 1)
    return F.grid_sample((picture - offset)[None], grid, align_corners=False)[0] + offset


def resized(picture: Tensor, side: int) -> Tensor:
    """(C, S, S) in [0, 1] -> (C, side, side), antialiased."""
    if picture.shape[-1] == side:
        return picture
    return F.interpolate(picture[None], (side, side), mode="bicubic", antialias=True)[0].clamp(0, 1)
