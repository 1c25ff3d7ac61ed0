"""Between ComfyUI's tensors and vcd_core's."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..vcd_core.identity import Photo

ROW, MARGIN, TITLE = 128, 6, 12  # pixels of the picture of a training


def photos_from_batch(images: Tensor, masks: Tensor | None) -> list[Photo]:
    """ComfyUI's IMAGE (B, H, W, 3 or 4) and MASK (B or 1, H, W) as photos.

    An all-zero MASK is what ComfyUI's loader gives for a picture without one, and counts as none. RGBA pictures
    lose their alpha: connect a MASK.

    Raises:
        ValueError: numbers or sizes that do not fit.
    """
    if masks is not None and not masks.any():
        masks = None
    if masks is not None and (len(masks) not in (1, len(images)) or masks.shape[1:] != images.shape[1:3]):
        raise ValueError(
            f"masks: {len(masks)} of {masks.shape[2]}x{masks.shape[1]} do not fit images: {len(images)} of "
            f"{images.shape[2]}x{images.shape[1]}. Give one mask an image (or one for all), of the same size"
        )
    return [
        Photo(
            name=f"image {i + 1}",
            image=images[i, :, :, :3].float().cpu().clone(),
            mask=None if masks is None else masks[i % len(masks)].float().cpu().clone(),
        )
        for i in range(len(images))
    ]


def training_picture(photos: Tensor, losses: Sequence[float] = (), sample: Tensor | None = None) -> Tensor:
    """What a training looks like, (256, W, 3) in [0, 1]: photos, below them a sample and the curve of the loss.

    Args:
        photos: (N, 4, S, S) in [0, 1], each with its mask, outside of which it is faded; the first eight are shown.
        losses: of every step so far.
        sample: (H, W, 3) in [0, 1].
    """
    from PIL import Image

    faded = photos[:8, :3] * (0.25 + 0.75 * photos[:8, 3:])
    row = [to_pil(photo.movedim(0, -1)).resize((ROW, ROW), Image.Resampling.BOX) for photo in faded]
    picture = Image.new("RGB", (ROW * max(len(row), 3), 2 * ROW), "white")
    for i, photo in enumerate(row):
        picture.paste(photo, (i * ROW, 0))
    left = 0
    if sample is not None:
        picture.paste(to_pil(sample).resize((ROW, ROW)), (0, ROW))
        left = ROW
    if len(losses) > 1:
        picture.paste(_curve(losses, picture.width - left, ROW), (left, ROW))
    return torch.from_numpy(np.array(picture)).float() / 255


def _curve(losses: Sequence[float], width: int, height: int):
    """The losses from left to right, every one pale and their running mean over a twentieth dark, as a PIL image."""
    from PIL import Image, ImageDraw

    values = np.asarray(losses)
    window = max(1, len(values) // 20)
    mean = np.convolve(np.pad(values, (window - 1, 0), mode="edge"), np.ones(window) / window, mode="valid")
    low, high = values.min(), max(values.max(), values.min() + 1e-9)
    across = np.linspace(MARGIN, width - MARGIN, len(values))
    curve = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(curve)
    for line, colour in ((values, "#b9c6d8"), (mean, "#1f4e8c")):
        down = MARGIN + TITLE + (high - line) / (high - low) * (height - 2 * MARGIN - TITLE)
        draw.line(list(zip(across, down, strict=True)), fill=colour, width=2)
    draw.text((MARGIN, 2), f"loss, {len(values)} steps: {mean[0]:.3f} to {mean[-1]:.3f}", fill="black")
    return curve


def to_pil(picture: Tensor):
    """(H, W, 3) in [0, 1] as a PIL image."""
    from PIL import Image

    return Image.fromarray((picture * 255).round().byte().cpu().numpy())
