"""The moving square around one face: where it is in each frame, what it shows, and how it is put back.

Coordinates are continuous: pixel i covers [i, i + 1). A crop is `size` x `size` pixels in every frame; how much of the
picture it shows follows the face smoothly.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..pictures import resized
from ..vision.opencv import import_cv2
from .smoothing import smoothed
from .tracks import Track

SPARE = 1.05  # sides beyond what just holds the face
FADE = 3  # frames in which a face that appears or goes within a shot does so
EDGE = 0.05  # of a square's side: in it the new fades into the old where the square ends within the picture
RESAMPLING_REACH = 4  # pixels around a rotated square that its interpolation may touch


@dataclass(frozen=True)
class CropOptions:
    """How a face is framed.

    Attributes:
        size: of the crop, pixels, what the model likes to draw.
        margin: side of the square over the face's longer side.
        period: frames; the square does not follow movements that swing faster.
        mask_margin: size of what is drawn anew over the face's box.
        feather: part of that in which the new fades into the old, in [0, 1].
        upright: turn the crop so that the eyes are level, where landmarks are known.
        min_enlargement: a face that the crop, by the median of its frames, enlarges less than so many times is left
            alone; 0 draws all.
        bridged: frames; a gap up to so long, in which the detector lost the face, is drawn like the frames around it.
            In a longer one the face is taken to be hidden, and left alone.
    """

    size: int = 512
    margin: float = 2.0
    period: float = 12.0
    mask_margin: float = 1.4
    feather: float = 0.4
    upright: bool = False
    min_enlargement: float = 0.0
    bridged: int = 3

    def __post_init__(self) -> None:
        if self.size < 64 or self.size % 8:
            raise ValueError(f"the size of a face's crop must be a multiple of 8, 64 or more, not {self.size}")
        if self.margin < 1 or self.mask_margin <= 0:
            raise ValueError(
                f"margins must be at least 1 (crop) and above 0 (mask), not {self.margin} and {self.mask_margin}"
            )
        if not 0 <= self.feather <= 1:
            raise ValueError(f"feather must lie in [0, 1], not {self.feather}")
        if not self.min_enlargement >= 0:
            raise ValueError(f"min_enlargement must be 0 (all faces) or more, not {self.min_enlargement}")


@dataclass(frozen=True)
class CropPath:
    """A track's crop in every frame.

    Attributes:
        first: the frame of the first row.
        centres: (n, 2) pixels x, y.
        sides: (n,) pixels of the picture that the square shows.
        rolls: (n,) radians by which it is turned clockwise.
        faces: (n, 4) the face's middle x, y and its width and height, as smooth as the square's path, pixels.
        shown: (n,) in [0, 1], how far the face is to be drawn anew: 0 where it is hidden.
        picture: (H, W) of what it is in.
    """

    first: int
    centres: np.ndarray
    sides: np.ndarray
    rolls: np.ndarray
    faces: np.ndarray
    shown: np.ndarray
    picture: tuple[int, int]

    @property
    def frames(self) -> range:
        return range(self.first, self.first + len(self.sides))


def plan_crop(track: Track, picture: tuple[int, int], options: CropOptions) -> CropPath:
    """Where the square around a track's face is.

    It holds the face in every frame in which the face was seen, and stays inside the picture where it fits.

    Args:
        picture: its (H, W).
    """
    weights = track.seen.astype(float)
    middles = (track.boxes[:, :2] + track.boxes[:, 2:]) / 2
    extents = np.maximum(track.boxes[:, 2:] - track.boxes[:, :2], 1e-3)
    paths = smoothed(np.concatenate([middles, np.log(extents)], 1), weights, options.period)
    centres, faces = paths[:, :2], np.concatenate([paths[:, :2], np.exp(paths[:, 2:])], 1)
    sides = options.margin * faces[:, 2:].max(1)
    held = 2 * (np.abs(middles - centres) + extents / 2).max(1) * SPARE
    sides = np.maximum(sides, np.where(track.seen, held, 0))
    height, width = picture
    sides = np.minimum(sides, max(height, width))
    limits = np.array([width, height], float)
    half = np.minimum(sides[:, None] / 2, limits / 2)
    centres, rolls = np.clip(centres, half, limits - half), _rolls(track, options)
    return CropPath(track.first, centres, sides, rolls, faces, _shown(track, options.bridged), picture)


def cut_out(frame: np.ndarray, path: CropPath, number: int, size: int) -> np.ndarray:
    """The square in one frame, (size, size, 3) float32, resampled so that every pixel counts by its area (Lanczos).

    Outside the picture its border is mirrored.

    Args:
        frame: (H, W, 3) float32.
        number: the row of the path.
    """
    side, roll = path.sides[number], path.rolls[number]
    part, corner = _surroundings(frame, path, number, size)
    if roll:
        part = _turned(part, path.centres[number] - corner, roll)
    x, y = path.centres[number] - corner - side / 2
    return resized(part, (size, size), (x, y, x + side, y + side))


def mask_in_crop(path: CropPath, number: int, size: int, options: CropOptions) -> np.ndarray:
    """(size, size) float32 in [0, 1]: what is to be drawn anew, in the square."""
    scale = path.sides[number] / size
    steps = ((np.arange(size) + 0.5) * scale - path.sides[number] / 2).astype(np.float32)
    return _mask(steps[None, :], steps[:, None], path, number, options)


def mask_in_frame(path: CropPath, number: int, options: CropOptions) -> tuple[np.ndarray, tuple[int, int]]:
    """The same in the picture: (h, w) float32 of a rectangle of it, and the rectangle's corner x, y.

    Outside the rectangle, and where the square's border lies inside the picture, the mask is 0.
    """
    roll = path.rolls[number]
    spread = abs(np.cos(roll)) + abs(np.sin(roll))
    squares = (path.centres[number], path.sides[number]), (path.faces[number, :2], _drawn_anew(path, number, options))
    low = np.max([middle - spread * np.max(side) / 2 for middle, side in squares], axis=0)
    high = np.min([middle + spread * np.max(side) / 2 for middle, side in squares], axis=0)
    x0, y0 = np.clip(np.floor(low), 0, path.picture[::-1]).astype(int)
    x1, y1 = np.clip(np.ceil(high), (x0, y0), path.picture[::-1]).astype(int)
    x = (np.arange(x0, x1)[None, :] + 0.5 - path.centres[number][0]).astype(np.float32)
    y = (np.arange(y0, y1)[:, None] + 0.5 - path.centres[number][1]).astype(np.float32)
    cosine, sine = math.cos(roll), math.sin(roll)
    along, down = x * cosine + y * sine, y * cosine - x * sine
    return _mask(along, down, path, number, options), (int(x0), int(y0))


def share_of_face(
    face: tuple[CropPath, int], others: Sequence[tuple[CropPath, int]], corner: tuple[int, int], shape: tuple[int, int]
) -> np.ndarray:
    """(h, w) in [0, 1]: to how much each pixel of a rectangle belongs to one face and not to others.

    By the distance from their middles in their own sizes, r: the share is r^-4 over the sum of all r^-4, in which
    others count as far as they are shown. One that is hidden takes nothing.

    Args:
        face, others: a path and the number of its row.
        corner, shape: of the rectangle, as `mask_in_frame` gives them.
    """
    if not others:
        return np.ones(shape, np.float32)
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5

    def nearness(path: CropPath, number: int) -> np.ndarray:
        across, down, width, height = path.faces[number]
        squares = ((x + corner[0] - across) / width) ** 2 + ((y + corner[1] - down) / height) ** 2
        return 1 / (squares**2 + 1e-9)

    own = nearness(*face)
    rest = sum(path.shown[number] * nearness(path, number) for path, number in others)
    return (own / (own + rest)).astype(np.float32)


def put_back(
    crop: np.ndarray, path: CropPath, number: int, corner: tuple[int, int], shape: tuple[int, int]
) -> np.ndarray:
    """A square as it looks in a rectangle of the picture, (h, w, 3) float32; outside the square its border.

    Args:
        crop: (S, S, 3) float32.
        corner, shape: the rectangle's x, y and (h, w), as `mask_in_frame` gives them.
    """
    side, roll, size = path.sides[number], path.rolls[number], len(crop)
    middle = path.centres[number] - corner  # in the rectangle
    height, width = shape
    x0, y0, x1, y1 = 0, 0, width, height
    if roll:  # first upright, with room for what turning fetches
        corners = np.array([(x, y) for x in (0, width) for y in (0, height)])
        reach = int(np.ceil(np.linalg.norm(corners - middle, axis=1).max())) + RESAMPLING_REACH
        x0, x1 = int(middle[0]) - reach, int(middle[0]) + reach
        y0, y1 = int(middle[1]) - reach, int(middle[1]) + reach
    scale = size / side
    box = np.array([x0 - middle[0], y0 - middle[1], x1 - middle[0], y1 - middle[1]]) * scale + size / 2
    pad = int(np.ceil(max(0.0, -box.min(), box.max() - size)))
    if pad:
        crop, box = np.pad(crop, ((pad, pad), (pad, pad), (0, 0)), "edge"), box + pad
    drawn = resized(crop, (y1 - y0, x1 - x0), tuple(box))
    if not roll:
        return drawn
    turned = _turned(drawn, middle - (x0, y0), -roll)
    return turned[-y0 : height - y0, -x0 : width - x0]


def _mask(along: np.ndarray, down: np.ndarray, path: CropPath, number: int, options: CropOptions) -> np.ndarray:
    """At places about the square's middle, in pixels of the picture along its axes."""
    cosine, sine, side = math.cos(path.rolls[number]), math.sin(path.rolls[number]), float(path.sides[number])
    off_x, off_y = (path.faces[number, :2] - path.centres[number]).tolist()
    off_x, off_y = off_x * cosine + off_y * sine, off_y * cosine - off_x * sine
    half_width, half_height = (_drawn_anew(path, number, options) / 2).tolist()
    squares = np.square(np.square((along - off_x) / half_width)) + np.square(np.square((down - off_y) / half_height))
    face = _fade((1 - np.sqrt(np.sqrt(squares))) / max(options.feather, 1e-6))
    left, above, right, below = _edges(path, number)
    across = np.minimum((side / 2 + along) / left, (side / 2 - along) / right)
    edge = _fade(np.minimum(across, np.minimum((side / 2 + down) / above, (side / 2 - down) / below)))
    return (float(path.shown[number]) * face * edge).astype(np.float32)


def _edges(path: CropPath, number: int) -> list[float]:
    """Over how many pixels the mask fades out at the square's four sides.

    No more than there are of the picture beyond a side: where the picture ends too, nothing old has to be met. A turned
    square fades out everywhere.
    """
    side = float(path.sides[number])
    if path.rolls[number]:
        return [EDGE * side] * 4
    low, high = path.centres[number] - side / 2, path.picture[::-1] - path.centres[number] - side / 2
    return np.clip([*low, *high], 1e-6, EDGE * side).tolist()


def _drawn_anew(path: CropPath, number: int, options: CropOptions) -> np.ndarray:
    """Width and height of what the mask covers, pixels."""
    return path.faces[number, 2:] * options.mask_margin


def _fade(values: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, smooth between: 3 t² - 2 t³."""
    t = np.clip(values, 0, 1)
    return t * t * (3 - 2 * t)


def _shown(track: Track, bridged: int) -> np.ndarray:
    """1 where a face was seen and in short gaps; 0 in long ones, but a half at their two ends.

    Where a track begins or ends in the middle of a shot, it fades in and out.
    """
    shown = np.ones(len(track.seen))
    start = None
    for number, is_seen in enumerate(track.seen):
        if not is_seen and start is None:
            start = number
        if is_seen and start is not None:
            if number - start > bridged:
                shown[start:number] = 0
                shown[[start, number - 1]] = 0.5
            start = None
    length = min(FADE, len(shown) // 2)
    fade = np.arange(1, length + 1) / (length + 1)
    if track.comes:
        shown[:length] *= fade
    if track.goes:
        shown[len(shown) - length :] *= fade[::-1]
    return shown


def _rolls(track: Track, options: CropOptions) -> np.ndarray:
    eyes = track.landmarks[:, 1] - track.landmarks[:, 0]
    known = np.isfinite(eyes).all(1)
    if not options.upright or not known.any():
        return np.zeros(len(track.boxes))
    angles = np.arctan2(eyes[:, 1], eyes[:, 0], where=known, out=np.zeros(len(eyes)))
    angles[known] = np.unwrap(angles[known])
    return smoothed(angles[:, None], known.astype(float), options.period)[:, 0]


def _surroundings(frame: np.ndarray, path: CropPath, number: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A part of the frame with all that a square's resampling touches, and its corner x, y; mirrored at borders."""
    side, roll = path.sides[number], path.rolls[number]
    reach = side / 2 * (abs(np.cos(roll)) + abs(np.sin(roll))) + RESAMPLING_REACH * max(1.0, side / size)
    low = np.floor(path.centres[number] - reach).astype(int)
    high = np.ceil(path.centres[number] + reach).astype(int)
    height, width = frame.shape[:2]
    inside = frame[max(low[1], 0) : min(high[1], height), max(low[0], 0) : min(high[0], width)]
    rows = (max(0, -low[1]), max(0, high[1] - height))
    columns = (max(0, -low[0]), max(0, high[0] - width))
    if any(rows + columns):
        inside = np.pad(inside, (rows, columns, (0, 0)), "symmetric")
    return inside, low


def _turned(picture: np.ndarray, middle: np.ndarray, angle: float) -> np.ndarray:
    """The picture turned counter-clockwise about a point, so that what was turned clockwise by `angle` is level."""
    cv2 = import_cv2()
    cosine, sine = np.cos(angle), np.sin(angle)
    x, y = middle - 0.5  # OpenCV's pixels have their middles at whole numbers
    inverse = np.array([[cosine, -sine, x - cosine * x + sine * y], [sine, cosine, y - sine * x - cosine * y]])
    flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(picture, inverse, picture.shape[1::-1], flags=flags, borderMode=cv2.BORDER_REFLECT)
