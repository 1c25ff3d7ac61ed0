"""A small detector for the faces of the demo world: its drawn people, robots and cats."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .faces import Face

STRIDE = 4
TYPICAL_FACE = 48.0  # pixels; sizes are learned as logarithms of parts of it
LANDMARKS = 5


class DrawnFaceDetector(nn.Module):
    """Faces as points (CenterNet, arXiv:1904.07850): a heat map of their middles, and what belongs to each middle.

    Fully convolutional; at its best on faces of 20 to 130 pixels, in pictures of the size that it was trained on, 128.

    Args:
        width: channels at most levels.
        threshold: faces that score less are not there.
    """

    def __init__(self, width: int = 32, threshold: float = 0.3):
        super().__init__()
        self.threshold = threshold
        sizes = (16, 24, width, width + 16, width + 32)  # at strides 2, 4, 8, 16, 32
        self.stem = _convolution(3, sizes[0], stride=2)
        self.down = nn.ModuleList(
            nn.Sequential(_convolution(thin, wide, stride=2), _Residual(wide))
            for thin, wide in zip(sizes, sizes[1:], strict=False)
        )
        self.side = nn.ModuleList(nn.Conv2d(size, width, 1) for size in sizes[1:])
        self.smooth = nn.ModuleList(_Residual(width) for _ in sizes[1:])
        self.head = nn.Conv2d(width, 1 + 4 + 2 * LANDMARKS, 1)
        nn.init.constant_(self.head.bias[:1], -4.0)  # faces are rare

    def forward(self, images: Tensor) -> Tensor:
        """(F, 3, H, W) in [0, 1], H and W multiples of 32 -> (F, 15, H / 4, W / 4).

        Channels: logit of a face's middle; its place within the cell x, y; log of width and height over
        `TYPICAL_FACE`; five landmarks x, y about the cell's middle in `TYPICAL_FACE`s.
        """
        x, levels = self.stem(images * 2 - 1), []
        for down in self.down:
            x = down(x)
            levels.append(x)
        x = None
        for level, side, smooth in reversed(list(zip(levels, self.side, self.smooth, strict=True))):
            skip = side(level)
            x = smooth(skip if x is None else skip + F.interpolate(x, scale_factor=2.0))
        return self.head(x)

    @torch.no_grad()
    def detect(self, images: Tensor, threshold: float | None = None, most: int = 16) -> list[list[Face]]:
        """The faces of each picture of a batch (F, 3, H, W) in [0, 1], best first.

        Args:
            threshold: in place of the detector's own.
        """
        threshold = self.threshold if threshold is None else threshold
        height, width = images.shape[-2:]
        images = F.pad(images, (0, -width % 32, 0, -height % 32), mode="replicate")
        return [_faces(maps, threshold, most) for maps in self(images.to(self.head.weight)).float().cpu()]


def _faces(maps: Tensor, threshold: float, most: int) -> list[Face]:
    heat = maps[0].sigmoid()
    peaks = heat * (heat == F.max_pool2d(heat[None], 3, stride=1, padding=1)[0])
    scores, places = peaks.flatten().topk(min(most, peaks.numel()))
    found = []
    for score, place in zip(scores.tolist(), places.tolist(), strict=True):
        if score < threshold:
            break
        row, column = divmod(place, heat.shape[1])
        values = maps[1:, row, column]
        middle = (torch.tensor([column, row]) + values[:2]) * STRIDE
        half = values[2:4].exp() * TYPICAL_FACE / 2
        landmarks = values[4:].view(LANDMARKS, 2) * TYPICAL_FACE + (torch.tensor([column, row]) + 0.5) * STRIDE
        found.append(Face((*(middle - half).tolist(), *(middle + half).tolist()), score, landmarks))
    return found


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.GroupNorm(8, outputs), nn.SiLU(inplace=True)
    )


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(_convolution(width, width), _convolution(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)
