"""How sure a mean is, by drawing what it is of again (percentile bootstrap; Efron and Tibshirani, 1993, chapter 13)."""

import numpy as np

RESAMPLINGS = 10000


def resampled_means(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(N, …) -> (RESAMPLINGS, …): means over N rows that are drawn again from the N, each as often as chance has it."""
    return values[generator.integers(len(values), size=(RESAMPLINGS, len(values)))].mean(1)


def interval_95(values: np.ndarray) -> tuple[float, float]:
    """Between which two the middle 95 % of (N,) values lie."""
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)
