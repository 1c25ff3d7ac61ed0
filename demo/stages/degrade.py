"""What generated pictures have and drawings lack: blur, noise, uneven colours."""

import cv2
import numpy as np


def degrade(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """A worse copy of a picture (H, W, 3) uint8."""
    worse = image.astype(np.float32)
    if rng.random() < 0.5:
        worse = cv2.GaussianBlur(worse, (0, 0), rng.uniform(0.3, 1.3))
    if rng.random() < 0.4:
        side = image.shape[0]
        coarse = rng.normal(0, rng.uniform(2, 10), (side // 8, side // 8, 3)).astype(np.float32)
        worse += cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.4:
        worse += rng.normal(0, rng.uniform(1, 8), image.shape)
    if rng.random() < 0.3:
        worse = worse * rng.uniform(0.93, 1.07) + rng.uniform(-6, 6)
    return np.clip(worse, 0, 255).astype(np.uint8)
