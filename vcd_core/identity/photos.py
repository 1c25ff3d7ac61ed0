"""Photos of one subject: from a folder, as they come out of a phone, to what training needs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

PHOTO_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
OTHER_PICTURES = (".avif", ".gif", ".heic", ".heif", ".jxl")


@dataclass(frozen=True)
class Photo:
    """One photo, upright.

    Attributes:
        name: shown to the user.
        image: (H, W, 3) float32 sRGB in [0, 1].
        mask: (H, W) float32 in [0, 1], 1 where the subject is; None: the whole photo counts.
        caption: words about this photo besides the subject, such as "on a beach".
    """

    name: str
    image: Tensor
    mask: Tensor | None = None
    caption: str = ""

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

    EXIF rotation is applied; greyscale, palette and 16-bit files become RGB. Transparent pixels are not the
    subject: a cut-out's alpha becomes the mask, over mid-grey. A `.txt` of the same name is the caption.

    Raises:
        ValueError: no such folder, no photo in it, or a picture or caption that cannot be read.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}: create it and put 5-10 photos of one subject into it")
    contents = [path for path in folder.iterdir() if path.is_file()]
    if unreadable := sorted(path.name for path in contents if path.suffix.lower() in OTHER_PICTURES):
        raise ValueError(
            f"{folder} holds {', '.join(unreadable[:3])}, which cannot be read here: save as one of "
            f"{', '.join(PHOTO_SUFFIXES)}, or take out"
        )
    files = [path for path in contents if path.suffix.lower() in PHOTO_SUFFIXES]
    if not files:
        raise ValueError(
            f"{folder} holds no photos: put 5-10 photos of one subject into it ({', '.join(PHOTO_SUFFIXES)})"
        )
    return [_load_photo(path) for path in sorted(files, key=lambda path: _natural_key(path.name))]


def training_images(photos: Sequence[Photo], size: int) -> tuple[Tensor, Tensor]:
    """Square pictures of one size, each cropped around its subject as far as the photo allows, then all mirrored.

    The largest square that fits into the photo is placed with its centre as near to the centre of the mask's
    bounding box as the borders let it, then resampled with antialiasing.

    Args:
        size: of the result, in pixels.

    Returns:
        images (2N, 3, size, size) in [-1, 1] and masks (2N, 1, size, size) in [0, 1], both float32: the N photos,
        then their mirror images. A photo without a mask, or whose mask is empty, gets a mask of ones.
    """
    if not photos:
        raise ValueError("there are no photos to train on: give 5-10 photos of one subject")
    pictures = torch.stack([_training_image(photo, size) for photo in photos])
    pictures = torch.cat([pictures, pictures.flip(-1)])
    return pictures[:, :3] * 2 - 1, pictures[:, 3:]


def _training_image(photo: Photo, size: int) -> Tensor:
    """(4, size, size) in [0, 1]: the image and, last, its mask."""
    image = photo.image.permute(2, 0, 1)
    height, width = image.shape[1:]
    mask = photo.mask if photo.mask is not None and photo.mask.any() else torch.ones(height, width)
    rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
    side = min(height, width)
    top = _crop_start(rows.min().item(), rows.max().item() + 1, side, height)
    left = _crop_start(columns.min().item(), columns.max().item() + 1, side, width)
    picture = torch.cat([image, mask[None].to(image)])[:, top : top + side, left : left + side]
    picture = F.interpolate(picture[None], (size, size), mode="bicubic", antialias=True)[0].clamp(0, 1)
    if not picture[3].any():
        raise ValueError(
            f"photo {photo.name}: nothing of its mask lies within the largest square around the mask's centre; "
            "crop the photo to one subject"
        )
    return picture


def _crop_start(subject_start: int, subject_end: int, side: int, length: int) -> int:
    """Start of the crop of `side` out of `length` whose centre is nearest the subject's."""
    return min(max((subject_start + subject_end - side) // 2, 0), length - side)


def _load_photo(path: Path) -> Photo:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file)
            image, alpha = _to_rgb_and_alpha(picture)
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"the photo {path} cannot be read ({error}): replace it or take it out") from error
    return Photo(
        name=path.name,
        image=torch.from_numpy(image),
        mask=None if alpha is None else torch.from_numpy(alpha),
        caption=_load_caption(path.with_suffix(".txt")),
    )


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
    image, alpha = pixels[:, :, :3], pixels[:, :, 3]
    if alpha.min() == 1:
        return np.ascontiguousarray(image), None
    return image * alpha[:, :, None] + 0.5 * (1 - alpha[:, :, None]), np.ascontiguousarray(alpha)


def _natural_key(name: str) -> list[tuple[int, str]]:
    """Digits compare as numbers; the name itself settles ties such as 01 and 1."""
    parts = re.split(r"(\d+)", name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts] + [(-1, name)]


def _size(image: Tensor) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
