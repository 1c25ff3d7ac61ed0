"""Smoothing of paths over time that neither lags nor hurries ahead."""

import math

import numpy as np


def smoothed(values: np.ndarray, weights: np.ndarray, period: float) -> np.ndarray:
    """Whittaker's smoother: the path z that minimises Σ w (z − y)² + λ Σ (z_{t+1} − 2 z_t + z_{t−1})².

    A movement at constant speed passes unchanged, and what is removed is removed without delay. With all weights 1
    the gain at angular frequency ω is 1 / (1 + λ (2 − 2 cos ω)²); λ makes it one half at `period`. Where the weight
    is 0 the path is drawn between its neighbours.

    (E. T. Whittaker, On a new method of graduation, 1923; P. H. C. Eilers, A perfect smoother, 2003.)

    Args:
        values: y, (n, k), one row a frame.
        weights: w, (n,), at least 0; some above 0.
        period: frames; faster oscillations are damped, slower ones kept. 0 keeps all where w > 0.

    Returns:
        (n, k) float64.
    """
    from scipy.linalg import solveh_banded

    values, weights = np.asarray(values, float), np.asarray(weights, float)
    n = len(values)
    if n < 3 or np.count_nonzero(weights) < 2:
        known = values[weights > 0]
        return values.copy() if n == len(known) else np.broadcast_to(known.mean(0), values.shape).copy()
    strength = 1e-9 if period < 2 else 1 / (2 - 2 * math.cos(2 * math.pi / period)) ** 2
    second = np.array([1.0, -2.0, 1.0])
    bands = np.zeros((3, n))  # the upper half of diag(w) + λ D'D
    for distance in range(3):
        product = second[: 3 - distance] * second[distance:]
        for offset, value in enumerate(product):
            bands[2 - distance, offset + distance : n - 2 + offset + distance] += strength * value
    bands[2] += weights
    filled = np.where(weights[:, None] > 0, values, 0.0)
    return solveh_banded(bands, weights[:, None] * filled)
