"""Reads back who is to be seen in a picture of the demo world, and where. Used only to measure."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vcd_core.vision import DrawnFaceDetector

from . import appearance
from .characters import Look
from .places import PLACES

CROP = 96  # pixels
CROP_UNITS = 3.8  # how much of the head's scale a crop shows
CROP_MIDDLE = 0.2  # of it below the middle of the face
VIEWS = ((0.0, 1.0), (0.04, 1.0), (-0.04, 1.0), (0.0, 1.05), (0.0, 0.95))
"""How a face's box is moved, in widths, and scaled for each look at a face. Each is taken in the picture and in its
mirror image, and the answers are averaged over all."""
NOWHERE = "nowhere in particular"
PLACE_NAMES = (*PLACES, NOWHERE)


@dataclass(frozen=True)
class Reading:
    """What one picture shows.

    Attributes:
        look: who, every attribute filled in; None if no face was found.
        shirt: whether the picture reaches down to the shirt.
        place: one of PLACE_NAMES.
    """

    look: Look | None
    shirt: bool
    place: str


class AttributeReader(nn.Module):
    """Head crops -> every attribute; small whole pictures -> the place."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            _block(3, 24), _block(24, 48), _Residual(48), _block(48, 72), _Residual(72), _block(72, 96), _Residual(96)
        )
        self.trunk = nn.Sequential(nn.Flatten(), nn.Linear(96 * (CROP // 16) ** 2, 160), nn.SiLU())
        self.nouns = nn.Linear(160, len(appearance.NOUNS))
        self.kinds = nn.ModuleDict({name: nn.Linear(160, len(kinds)) for name, kinds in appearance.KINDS.items()})
        self.colours = nn.ModuleDict({name: nn.Linear(160, 3) for name in appearance.COLOURS})
        self.place = nn.Sequential(
            _block(3, 16), _block(16, 32), _block(32, 48), nn.Flatten(), nn.Linear(48 * 16, len(PLACE_NAMES))
        )

    def forward(self, crops: Tensor) -> dict[str, Tensor]:
        """(N, 3, 96, 96) in [-1, 1] -> logits of "noun" and of each kind, (N, 3) in [-1, 1] of each colour."""
        x = self.trunk(self.features(crops))
        heads = {"noun": self.nouns, **self.kinds, **self.colours}
        return {name: head(x) for name, head in heads.items()}

    def places(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1] -> logits of PLACE_NAMES."""
        return self.place(F.interpolate(images, (32, 32), mode="area"))


def head_crops(images: Tensor, boxes: Tensor) -> Tensor:
    """Pictures (N, 3, H, W) in [-1, 1] and a face box each (N, 4) -> (N, 3, 96, 96); grey beyond the picture."""
    height, width = images.shape[-2:]
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    unit = ((boxes[:, 2:] - boxes[:, :2]).clamp(min=1).prod(1).sqrt() / 2)[:, None]
    line = (torch.arange(CROP) + 0.5) / CROP - 0.5
    x = middle[:, :1] + CROP_UNITS * unit * line
    y = middle[:, 1:] + CROP_UNITS * unit * line + CROP_MIDDLE * unit
    grid = torch.stack(
        [(2 * x / width - 1)[:, None, :].expand(-1, CROP, -1), (2 * y / height - 1)[:, :, None].expand(-1, -1, CROP)],
        -1,
    )
    return F.grid_sample(images, grid.to(images), align_corners=False)


def shows_shirt(box: Sequence[float], height: int) -> bool:
    """Whether a picture of this height goes on well below the chin."""
    return box[3] + 0.35 * (box[3] - box[1]) / 2 < height


@torch.no_grad()
def read(reader: AttributeReader, detector: DrawnFaceDetector, images: Tensor) -> list[Reading]:
    """What each picture (F, 3, H, W) in [0, 1] shows, of its best face."""
    found = [faces[0] if faces else None for faces in detector.detect(images)]
    pictures = images * 2 - 1
    places = [PLACE_NAMES[index] for index in reader.places(pictures).argmax(1)]
    whole = (0.0, 0.0, float(images.shape[-1]), float(images.shape[-2]))
    boxes = torch.tensor([face.box if face else whole for face in found])
    sides = ((pictures, boxes), (pictures.flip(-1), _mirrored(boxes, images.shape[-1])))
    answers = [reader(head_crops(seen, _moved(where, *view))) for seen, where in sides for view in VIEWS]
    answers = {name: torch.stack([one[name] for one in answers]).mean(0) for name in answers[0]}
    return [
        Reading(
            look_of(answers, number) if face else None,
            face is not None and shows_shirt(face.box, images.shape[-2]),
            places[number],
        )
        for number, face in enumerate(found)
    ]


def _moved(boxes: Tensor, across: float, scale: float) -> Tensor:
    """Boxes (N, 4) moved to the right by a part of their width, and scaled about their middles."""
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    middle = middle + 2 * half * torch.tensor([across, 0.0])
    return torch.cat([middle - scale * half, middle + scale * half], 1)


def _mirrored(boxes: Tensor, width: int) -> Tensor:
    x0, y0, x1, y1 = boxes.unbind(1)
    return torch.stack([width - x1, y0, width - x0, y1], 1)


def similarity(true: Look, seen: Reading) -> float:
    """`appearance.similarity`, without the shirt where the picture does not reach it; 0 where no face was found."""
    if seen.look is None:
        return 0.0
    return appearance.similarity(true, seen.look, () if seen.shirt else ("shirt", "pattern"))


def look_features(look: Look) -> Tensor:
    """(D,), 0 or 1, such that the cosine of two looks is the share of attributes that are the same, colours by name."""
    chosen = {"noun": (appearance.NOUNS, look.noun)}
    chosen |= {name: (kinds, getattr(look, name)) for name, kinds in appearance.KINDS.items()}
    chosen |= {name: (list(named), appearance.colour_name(name, look)) for name, named in appearance.COLOURS.items()}
    found = [F.one_hot(torch.tensor(names.index(name)), len(names)) for names, name in chosen.values()]
    return torch.cat(found).float()


def look_of(answers: dict[str, Tensor], number: int) -> Look:
    """What the reader's answers say of one picture, every attribute filled in."""
    kinds = {name: kinds[answers[name][number].argmax()] for name, kinds in appearance.KINDS.items()}
    colours = {
        name: tuple(((answers[name][number].clamp(-1, 1) + 1) * 127.5).round().int().tolist())
        for name in appearance.COLOURS
    }
    return Look(noun=appearance.NOUNS[answers["noun"][number].argmax()], **kinds, **colours)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    """Halves the size."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.GroupNorm(8, outputs), nn.SiLU(inplace=True)
    )


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.GroupNorm(8, width), nn.SiLU(inplace=True),
            nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.GroupNorm(8, width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x + self.layers(x))
