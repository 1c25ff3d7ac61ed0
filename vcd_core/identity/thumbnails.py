"""Small pictures of subjects: made, opened, and laid out on one sheet."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from ..files import unfinished_file
from .token import IDToken

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 128
BACKGROUND = (128, 128, 128)
MARGIN = 8
TEXT_SIZE = 12
TEXT_LINES = 4


def make_thumbnail(picture: Tensor) -> bytes:
    """The largest square around the middle, as a JPEG of 128x128 pixels.

    Args:
        picture: (H, W, 3) in [0, 1].
    """
    from PIL import Image, ImageOps

    pixels = (picture.detach().cpu().float().clamp(0, 1) * 255).round().byte().numpy()
    content = BytesIO()
    ImageOps.fit(Image.fromarray(pixels), (SIDE, SIDE)).save(content, "JPEG", quality=85)
    return content.getvalue()


def open_thumbnail(content: bytes) -> "Image | None":
    """An RGB picture of 128x128 pixels, others padded to it with grey; None if there is none or it is damaged."""
    from PIL import Image, ImageOps

    if not content:
        return None
    try:
        with Image.open(BytesIO(content), formats=["JPEG"]) as file:
            return ImageOps.pad(file.convert("RGB"), (SIDE, SIDE), color=BACKGROUND)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def save_token_sheet(tokens: Sequence[IDToken], path: Path, columns: int = 6) -> Path:
    """Writes a PNG with the picture of every token over its name, noun, vectors, steps and base.

    Raises:
        ValueError: there are no tokens.
    """
    from PIL import Image, ImageDraw, ImageFont

    if not tokens:
        raise ValueError("there are no ID tokens to show: train one first")
    columns = min(columns, len(tokens))
    rows = -(-len(tokens) // columns)
    line_height = TEXT_SIZE + 3
    width, height = SIDE + MARGIN, SIDE + TEXT_LINES * line_height + 2 * MARGIN
    sheet = Image.new("RGB", (columns * width + MARGIN, rows * height + MARGIN), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT_SIZE)
    for i, token in enumerate(tokens):
        x, y = MARGIN + i % columns * width, MARGIN + i // columns * height
        picture = open_thumbnail(token.thumbnail)
        sheet.paste(BACKGROUND if picture is None else picture, (x, y, x + SIDE, y + SIDE))
        if picture is None:
            draw.text((x + SIDE / 2, y + SIDE / 2), "no picture", "white", font, anchor="mm")
        for line, text in enumerate(_caption(token)):
            while draw.textlength(text, font) > SIDE:
                text = text[:-1]
            draw.text((x, y + SIDE + MARGIN / 2 + line * line_height), text, "black", font)
    with unfinished_file(path) as unfinished:
        sheet.save(unfinished, "PNG")
    return path


def _caption(token: IDToken) -> list[str]:
    count = f"{len(token.vectors)} vectors" if len(token.vectors) > 1 else "1 vector"
    lines = (token.name, token.noun, f"{count}, {token.steps} steps", token.base)
    return [" ".join(line.split()) for line in lines]
