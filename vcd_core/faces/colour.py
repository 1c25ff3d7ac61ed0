"""A face's colours made to suit what is around it."""

import numpy as np

from .smoothing import smoothed

GRID = 64  # colours are compared on about so many pixels a side
LEAST, MOST = 0.8, 1.25
PERIOD = 8.0  # frames: what flickers faster is not followed


def colour_gains(before: np.ndarray, after: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """(n, 3) by how much light of each channel has to be multiplied so that a new face suits the old picture.

    They make the new picture as bright as the old one, in linear light, where one fades into the other; smooth over
    the frames, and close enough to 1 that a face may be lit otherwise than before.

    Args:
        before, after: (n, S, S, 3) in [0, 1], sRGB.
        masks: (n, S, S) in [0, 1], 1 where the picture is new.
    """
    step = max(1, before.shape[1] // GRID)
    before, after = (to_linear(np.clip(clip[:, ::step, ::step], 0, 1)) for clip in (before, after))
    masks = masks[:, ::step, ::step, None]
    weights = 4 * masks * (1 - masks) + 0.05 * (1 - masks)
    totals = [(weights * clip).sum((1, 2)) + 1e-6 for clip in (before, after)]
    gains = np.clip(totals[0] / totals[1], LEAST, MOST)
    return np.exp(smoothed(np.log(gains), np.ones(len(gains)), PERIOD))


def with_gains(picture: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """A picture (h, w, 3) in sRGB with its light multiplied, float32 in [0, 1].

    sRGB is a power of light, ((v + 0.055) / 1.055)^2.4, but for the darkest values, which are proportional to it. So a
    gain g of the light is v -> (v + 0.055) g^(1/2.4) - 0.055, and g v for those: no power is taken of any pixel.
    """
    light = gains.astype(np.float32)
    encoded = light ** np.float32(1 / 2.4)
    changed = picture * encoded + np.float32(0.055) * (encoded - 1)
    return np.clip(np.where(picture > 0.04045, changed, picture * light), 0, 1)


def to_linear(values: np.ndarray) -> np.ndarray:
    """sRGB's decoding (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
