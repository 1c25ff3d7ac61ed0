"""Photos of a real person: crops of the public-domain portrait that scikit-image carries."""

from pathlib import Path

from PIL import Image

CROPS = ((96, 0, 352, 256), (112, 16, 336, 240), (48, 0, 400, 352), (128, 0, 320, 192), (0, 0, 512, 512))


def portrait() -> Image.Image:
    """The portrait, 512 x 512; the face lies within (174, 66, 272, 192)."""
    import skimage

    return Image.open(Path(skimage.__file__).parent / "data" / "astronaut.png").convert("RGB")


def portrait_crops(count: int = len(CROPS)) -> list[Image.Image]:
    """Crops of the portrait with the whole face in each, of several sizes, every other one mirrored."""
    picture = portrait()
    crops = [picture.crop(box) for box in CROPS[:count]]
    return [crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if i % 2 else crop for i, crop in enumerate(crops)]
