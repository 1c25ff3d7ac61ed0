"""Between ComfyUI's tensors and vcd_core's."""

from torch import Tensor

from ..vcd_core.identity import Photo


def photos_from_batch(images: Tensor, masks: Tensor | None) -> list[Photo]:
    """ComfyUI's IMAGE (B, H, W, 3 or 4) and MASK (B or 1, H, W), or as some nodes give it (H, W), as photos.

    An all-zero MASK is what ComfyUI's loader gives for a picture without one, and counts as none. RGBA pictures
    lose their alpha: connect a MASK.

    Raises:
        ValueError: numbers or sizes that do not fit.
    """
    if masks is not None:
        masks = masks.reshape(-1, *masks.shape[-2:]) if masks.any() else None
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


def to_pil(picture: Tensor):
    """(H, W, 3) in [0, 1] as a PIL image."""
    from PIL import Image

    return Image.fromarray((picture * 255).round().byte().cpu().numpy())
