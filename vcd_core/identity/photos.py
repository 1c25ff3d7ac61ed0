"""Photos of one subject: from a folder, as they come out of a phone, to what training needs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..pictures import resized, scaled_size

PHOTO_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
OTHER_PICTURES = (".avif", ".gif", ".heic", ".heif", ".jxl")
MASK_SUFFIX = ".mask.png"
OTHER_MASK = re.compile(r"(.+)[ ._-]mask", re.IGNORECASE)  # how other programs may name them
SHORTER_SIDE = 1536  # pixels; what views of 1024, enlarged by 1.4, are cut from
FAINT = 0.1  # a mask of less nowhere shows a subject


@dataclass(frozen=True)
class Photo:
    """One photo, upright.

    Attributes:
        name: shown to the user.
        image: (H, W, 3) float32 sRGB in [0, 1].
        mask: (H, W) float32 in [0, 1], 1 where the subject is; None: the whole photo counts.
        caption: words about this photo besides the subject, such as "on a beach".
        cut_out: around the subject there is nothing to be seen.
    """

    name: str
    image: Tensor
    mask: Tensor | None = None
    caption: str = ""
    cut_out: bool = False

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3:
            raise ValueError(f"photo {self.name}: the image must be (H, W, 3), got {tuple(self.image.shape)}")
        if self.mask is not None and self.mask.shape != self.image.shape[:2]:
            raise ValueError(
                f"photo {self.name}: its mask is {_size(self.mask)} but the image is {_size(self.image)}; "
                "give a mask of the photo's own size"
            )


def load_photos(folder: Path) -> list[Photo]:
    """Reads every photo of a folder in natural order (2 before 12).

    EXIF rotation is applied; greyscale, palette and 16-bit files become RGB. A picture NAME.mask.png beside NAME.jpg
    is its mask, white where the subject is. Without one, transparent pixels are not the subject: a cut-out's alpha
    becomes the mask, over mid-grey. NAME.txt is the caption. Photos whose shorter side has more than `SHORTER_SIDE`
    pixels are scaled down to it, or ten from a phone would take gigabytes as long as the token is trained.

    Raises:
        ValueError: no such folder, no photo in it, a mask of no photo, of another size or by another name, or a picture
            or caption that cannot be read.
    """
    return [load_photo(*files) for files in photo_files(folder)]


def photo_files(folder: Path) -> list[tuple[Path, Path | None]]:
    """The photos of a folder in natural order, each with the file of its mask if it has one; nothing is opened.

    Raises:
        ValueError: no such folder, no photo in it, a mask of no photo or by another name, a link to nothing, or a
            picture of a kind that cannot be read.
    """
    if folder.is_file():
        raise ValueError(f"{folder} is a file: name the folder that holds the photos")
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}: create it and put 5-10 photos of one subject into it")
    visible = [path for path in folder.iterdir() if not path.name.startswith(".")]
    pictures = (path for path in visible if path.suffix.lower() in PHOTO_SUFFIXES)
    if dangling := sorted(path.name for path in pictures if path.is_symlink() and not path.exists()):
        raise ValueError(f"{folder} holds {dangling[0]}, a link to a file that is not there: mend it or take it out")
    contents = [path for path in visible if path.is_file()]
    if unreadable := sorted(path.name for path in contents if path.suffix.lower() in OTHER_PICTURES):
        raise ValueError(
            f"{folder} holds {', '.join(unreadable[:3])}, which cannot be read here: save as one of "
            f"{', '.join(PHOTO_SUFFIXES)}, or take out"
        )
    masks = {path.name[: -len(MASK_SUFFIX)]: path for path in contents if path.name.lower().endswith(MASK_SUFFIX)}
    files = [path for path in contents if path.suffix.lower() in PHOTO_SUFFIXES and path not in masks.values()]
    stems = {path.stem for path in files}
    if alone := sorted(masks[name].name for name in masks.keys() - stems):
        raise ValueError(f"{folder} holds the mask {alone[0]} of no photo: give it its photo's name, or take it out")
    named = ((path, OTHER_MASK.fullmatch(path.stem)) for path in files)
    if misnamed := sorted(path.name for path, match in named if match and match[1] in stems):
        photo = OTHER_MASK.fullmatch(Path(misnamed[0]).stem)[1]
        raise ValueError(
            f"{folder} holds {misnamed[0]}, which would be trained on as a photo: if it is the mask of {photo!r}, save "
            f"it as {photo}{MASK_SUFFIX}; if not, give it another name"
        )
    if not files:
        raise ValueError(
            f"{folder} holds no photos: put 5-10 photos of one subject into it ({', '.join(PHOTO_SUFFIXES)})"
        )
    files.sort(key=lambda path: _natural_key(path.name))
    return [(path, masks.get(path.stem)) for path in files]


def usable_photos(photos: Sequence[Photo]) -> tuple[list[Photo], list[str]]:
    """The photos that can be trained on, and remarks for the user: which were left out and why, which have no mask.

    Raises:
        ValueError: there is none.
    """
    usable, remarks = [], []
    for photo in photos:
        if problem := _problem(photo):
            remarks.append(f"left out {photo.name}: {problem}")
        else:
            usable.append(photo)
    if not usable:
        raise ValueError(
            "\n".join(["there are no photos to train on: give 5-10 photos of one subject and its masks", *remarks])
        )
    if unmasked := [photo.name for photo in usable if photo.mask is None]:
        remarks.append(f"no mask, so what is around the subject is learned as well: {', '.join(unmasked)}")
    if len(usable) == 1:
        remarks.append("one photo shows one pose and one light: 5-10 give a truer likeness")
    return usable, remarks


def cropped(photo: Photo, size: int, margin: float = 0.0) -> Tensor:
    """The largest square around the subject, (4, size, size) float32 in [0, 1]: the image and, last, its mask.

    The square's centre is as near to the centre of the mask's bounding box as the borders let it. Resampling is
    antialiased. Without a mask all of it counts.

    Args:
        photo: one of `usable_photos`.
        size: of the result, in pixels.
        margin: by how much the mask grows to every side, in parts of the picture's; that of a cut-out stays as it is.
    """
    square = around_subject(photo)
    mask = torch.ones(square.image.shape[:2]) if square.mask is None else square.mask
    picture = torch.cat([square.image.permute(2, 0, 1), mask[None]])
    picture = F.interpolate(picture[None], (size, size), mode="bicubic", antialias=True)[0].clamp(0, 1)
    if not photo.cut_out:
        picture[3] = _grown(picture[3], round(margin * size))
    return picture


def around_subject(photo: Photo) -> Photo:
    """The same square at its own size, with the part of the mask in it."""
    top, left, side = _square(photo)
    mask = None if photo.mask is None else photo.mask[top : top + side, left : left + side]
    return replace(photo, image=photo.image[top : top + side, left : left + side], mask=mask)


def faded(pictures: Tensor) -> Tensor:
    """(..., 4, S, S) in [0, 1], images and then masks, as (..., 3, S, S) to look at, pale where nothing counts."""
    return pictures[..., :3, :, :] * (0.25 + 0.75 * pictures[..., 3:, :, :])


def _grown(mask: Tensor, radius: int) -> Tensor:
    """(S, S): the largest value within a square of so many pixels to every side."""
    for _ in range(2):  # rows, then columns
        padded, window = F.pad(mask, (0, 0, radius, radius)), 1
        while 2 * window <= 2 * radius + 1:
            padded, window = torch.maximum(padded[:-window], padded[window:]), 2 * window
        shift = 2 * radius + 1 - window
        mask = torch.maximum(padded[: len(padded) - shift], padded[shift:]).T
    return mask


def _problem(photo: Photo) -> str:
    """Why the photo cannot be trained on; "" if it can."""
    if photo.mask is None:
        return ""
    if not photo.mask.max() >= FAINT:  # nor where it is no number
        return "its mask is empty; draw the subject white, or give the photo without a mask"
    top, left, side = _square(photo)
    if not photo.mask[top : top + side, left : left + side].any():
        return (
            "nothing of its mask lies within the largest square around the mask's centre; crop the photo to one subject"
        )
    return ""


def _square(photo: Photo) -> tuple[int, int, int]:
    """Top, left and side, in pixels, of the largest square around the subject."""
    height, width = photo.image.shape[:2]
    side = min(height, width)
    if photo.mask is None:
        return (height - side) // 2, (width - side) // 2, side
    is_subject = photo.mask > 0.5 * photo.mask.max()  # a cut-out's haze is not
    rows, columns = is_subject.any(dim=1).nonzero(), is_subject.any(dim=0).nonzero()
    top = _crop_start(rows.min().item(), rows.max().item() + 1, side, height)
    left = _crop_start(columns.min().item(), columns.max().item() + 1, side, width)
    return top, left, side


def _crop_start(subject_start: int, subject_end: int, side: int, length: int) -> int:
    """Start of the crop of `side` out of `length` whose centre is nearest the subject's."""
    return min(max((subject_start + subject_end - side) // 2, 0), length - side)


def load_photo(path: Path, mask_path: Path | None = None) -> Photo:
    """One of a folder's, as `load_photos` reads it."""
    image, mask = _load_picture(path, over_grey=mask_path is None)
    if mask_path is not None:
        drawn, alpha = _load_picture(mask_path, over_grey=False)
        mask = np.ascontiguousarray(drawn[:, :, 0] if alpha is None else drawn[:, :, 0] * alpha)
    photo = Photo(
        name=path.name,
        image=torch.from_numpy(image),
        mask=None if mask is None else torch.from_numpy(mask),
        cut_out=mask is not None and mask_path is None,
        caption=_load_caption(path.with_suffix(".txt")),
    )
    return _scaled_down(photo)


def _scaled_down(photo: Photo) -> Photo:
    height, width = photo.image.shape[:2]
    if min(height, width) <= SHORTER_SIDE:
        return photo
    shape = scaled_size((height, width), SHORTER_SIDE / min(height, width))

    def small(picture: Tensor) -> Tensor:
        return torch.from_numpy(resized(picture.numpy(), shape)).clamp_(0, 1)

    mask = None if photo.mask is None else small(photo.mask[:, :, None])[:, :, 0].contiguous()
    return replace(photo, image=small(photo.image), mask=mask)


def _load_picture(path: Path, *, over_grey: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """(H, W, 3) in [0, 1], upright, and its alpha if it has any transparency; what is transparent is grey, or kept."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as file:
            image, alpha = _to_rgb_and_alpha(ImageOps.exif_transpose(file))
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"the photo {path} cannot be read ({error}): replace it or take it out") from error
    if alpha is not None and over_grey:
        image = image * alpha[:, :, None] + 0.5 * (1 - alpha[:, :, None])
    return image, alpha


def _load_caption(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig").strip() if path.is_file() else ""
    except UnicodeDecodeError as error:
        raise ValueError(f"the caption {path} is not UTF-8 text: save it as UTF-8") from error


def _to_rgb_and_alpha(picture) -> tuple[np.ndarray, np.ndarray | None]:
    """(H, W, 3) in [0, 1] and, for a picture with any transparency, its alpha (H, W) in [0, 1]."""
    if picture.mode == "F":
        raise OSError("its pixels are floating-point numbers; save it with 8 or 16 bits")
    if picture.mode.startswith("I"):  # 16-bit greyscale, which convert("RGB") would clip
        values = np.asarray(picture, dtype=np.float32)
        grey = values / (65535 if values.max() > 255 or picture.mode != "I" else 255)
        return np.repeat(grey.clip(0, 1)[:, :, None], 3, axis=2), None
    pixels = np.asarray(picture.convert("RGBA"), dtype=np.float32) / 255
    image, alpha = (np.ascontiguousarray(part) for part in (pixels[:, :, :3], pixels[:, :, 3]))
    return image, None if alpha.min() == 1 else alpha


def _natural_key(name: str) -> list[tuple[int, str]]:
    """Digits compare as numbers; the name itself settles ties such as 01 and 1."""
    parts = re.split(r"(\d+)", name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts] + [(-1, name)]


def _size(image: Tensor) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
