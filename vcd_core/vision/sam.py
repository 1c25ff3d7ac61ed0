"""Segment Anything (arXiv:2304.02643): the mask of what fills a box."""

from pathlib import Path

import torch
from torch import Tensor, nn

from ..files import read_tensors

VARIANTS = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
"""By the width of the image encoder."""
STEM = "image_encoder.patch_embed.proj.weight"
WHERE = "use sam_vit_b_01ec64.pth, sam_vit_l_0b3195.pth or sam_vit_h_4b8939.pth"


class Sam(nn.Module):
    """A `BoxMasker`.

    Args:
        network: segment-anything's model.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @torch.no_grad()
    def mask(self, image: Tensor, box: tuple[float, float, float, float]) -> Tensor:
        from segment_anything import SamPredictor

        predictor = SamPredictor(self.network)
        predictor.set_image((image.clamp(0, 1) * 255).round().byte().cpu().numpy())
        # One mask, not three: a box, unlike a point, says which part of a thing is meant.
        masks, _, _ = predictor.predict(box=torch.tensor(box).numpy(), multimask_output=False)
        return torch.from_numpy(masks[0]).float()


def load_sam(path: str | Path) -> Sam:
    """SAM from its published file, vit_b, vit_l or vit_h as its tensors say, in float32 and evaluation mode.

    The file is read as tensors only, never as code. The weights stay mapped from it where its format allows.

    Raises:
        ValueError: the file is missing, damaged, or something else; the message says what, and what to do.
        ImportError: the package segment-anything is not installed.
    """
    path = Path(path)
    tensors, _ = read_tensors(path)
    stem = tensors.get(STEM)
    if stem is None or stem.ndim != 4 or stem.shape[0] not in VARIANTS:
        raise ValueError(f"{path.name} in {path.parent} is not a SAM checkpoint; {_description(tensors)}: {WHERE}")
    variant = VARIANTS[stem.shape[0]]
    with torch.device("meta"):
        network = getattr(_segment_anything(), f"build_sam_{variant}")(checkpoint=None)

    expected = network.state_dict()
    wrong = [f"{name} is missing" for name in expected.keys() - tensors.keys()]
    wrong += [f"{name} is unknown" for name in tensors.keys() - expected.keys()]
    wrong += [
        f"{name} is {list(tensors[name].shape)} instead of {list(value.shape)}"
        for name, value in expected.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    if wrong:
        raise ValueError(
            f"{path.name} in {path.parent} resembles SAM {variant} but is not it: {min(wrong)}"
            f"{f', and {len(wrong) - 1} more' if len(wrong) > 1 else ''}. {WHERE[0].upper()}{WHERE[1:]}"
        )
    network.load_state_dict({name: value.float() for name, value in tensors.items()}, assign=True)
    return Sam(network.eval().requires_grad_(False))


def _segment_anything():
    try:
        import segment_anything
    except ModuleNotFoundError as error:
        if error.name != "segment_anything":
            raise
        raise ImportError(
            "segmenting by a prompt needs the package segment-anything. Install it into the Python that runs this: "
            "pip install segment-anything"
        ) from error
    return segment_anything


def _description(tensors: dict[str, Tensor]) -> str:
    names = list(tensors)
    if any(name.startswith("model.diffusion_model.") for name in names):
        return "it looks like a Stable Diffusion checkpoint"
    if any(name.startswith("image_encoder.layers.") for name in names):
        return "it looks like MobileSAM, which is not read here"
    return f"it holds weights such as {', '.join(names[:3])}" if names else "it holds no weights"
