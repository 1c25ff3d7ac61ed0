"""How sure a mean is, by drawing what it is of again (percentile bootstrap; Efron and Tibshirani, 1993, chapter 13)."""

import numpy as np

RESAMPLINGS = 10000


def resampled_means(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(N, …) -> (RESAMPLINGS, …): means over N rows that are drawn again from the N, each as often as chance has it."""
    return values[generator.integers(len(values), size=(RESAMPLINGS, len(values)))].mean(1)


def interval_95(values: np.ndarray, rows: int | None = None) -> tuple[float, float]:
    """Between which two the middle 95 % of (N,) values lie.

    Args:
        rows: of which the values are resampled means. As few rows miss the true mean more often than one time in
            twenty, the interval then is as wide as Student's t says, its own skewness kept: the expanded percentile
            interval (Hesterberg, 2015, What Teachers Should Know About the Bootstrap).
    """
    below = 0.025
    if rows is not None and rows > 1:
        from scipy import stats

        below = stats.norm.cdf((rows / (rows - 1)) ** 0.5 * stats.t.ppf(0.025, rows - 1))
    low, high = np.quantile(values, (below, 1 - below))
    return float(low), float(high)
