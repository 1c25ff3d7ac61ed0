"""Pictures of what was found, for people to look at."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from .segmentation import Finding

SIZE = 512
CHOSEN, OTHER, BACKGROUND = (90, 255, 120), (255, 110, 90), (30, 40, 140)
VEIL = 0.65


def draw_findings(
    image: Tensor,
    found: Sequence["Finding"] = (),
    chosen: "Finding | None" = None,
    mask: Tensor | None = None,
    caption: str = "",
) -> Tensor:
    """A picture fitted into a square, with boxes and their scores on it.

    Args:
        image: (H, W, 3) in [0, 1], of any size.
        found: boxes in the image's pixels.
        chosen: the one of them to be drawn in green.
        mask: (H, W) in [0, 1]; what is outside it lies behind a blue veil.
        caption: a line below.

    Returns:
        (512, 512, 3) float32 in [0, 1].
    """
    from PIL import Image, ImageDraw, ImageFont

    height, width = image.shape[:2]
    scale = SIZE / max(height, width)
    inner = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (SIZE - inner[0]) // 2, (SIZE - inner[1]) // 2

    seen = torch.ones(height, width) if mask is None else mask
    layers = torch.cat([image.float().cpu(), seen.float().cpu()[:, :, None]], dim=2).permute(2, 0, 1)
    layers = F.interpolate(layers[None], inner, mode="bilinear", antialias=True)[0].permute(1, 2, 0).clamp(0, 1)
    veil = VEIL * (1 - layers[:, :, 3:])
    picture = torch.zeros(SIZE, SIZE, 3)
    picture[top : top + inner[0], left : left + inner[1]] = (
        layers[:, :, :3] * (1 - veil) + torch.tensor(BACKGROUND) / 255 * veil
    )

    canvas = Image.fromarray((picture * 255).round().byte().numpy())
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=16)

    def write(x: float, y: float, text: str, colour: tuple[int, int, int]) -> None:
        draw.rectangle(draw.textbbox((x, y), text, font=font), fill="black")
        draw.text((x, y), text, fill=colour, font=font)

    for finding in sorted(found, key=lambda finding: finding is chosen):  # the chosen one on top
        colour = CHOSEN if finding is chosen else OTHER
        x0, y0, x1, y1 = (edge * scale + start for edge, start in zip(finding.box, (left, top) * 2, strict=True))
        draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=2)
        write(x0 + 4, y0 + 2, f"{finding.words} {finding.score:.2f}".strip(), colour)
    if caption:
        write(4, SIZE - 22, caption, (255, 255, 255))
    return torch.from_numpy(np.asarray(canvas).copy()).float() / 255
