"""The 3D Gaussian noise prior: white noise in space, correlated over frames."""

from .chain import NoiseChain
from .prior import correlate, correlated_noise, counter_noise

__all__ = ["NoiseChain", "correlate", "correlated_noise", "counter_noise"]
