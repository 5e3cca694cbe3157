"""Means and variances of feature frames, gathered utterance by utterance in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Moments:
    """Count, sum and sum of squares per dimension of frames less a fixed ``shift``.

    The shift (any typical frame) keeps the sums small, so that a constant dimension has variance exactly 0.
    """

    shift: np.ndarray
    count: int
    total: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, frames: np.ndarray, shift: np.ndarray) -> Moments:
        """Moments of frames (n, dim); shift: (dim,) float64."""
        centred = frames.astype(np.float64) - shift
        return cls(shift, len(frames), centred.sum(axis=0), np.square(centred).sum(axis=0))

    def __add__(self, other: Moments) -> Moments:
        """Moments of both sets of frames; both must have the same shift."""
        return Moments(self.shift, self.count + other.count, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> np.ndarray:
        """(dim,) mean; that of no frames is 0."""
        return self.shift + self.total / self.count if self.count else np.zeros_like(self.total)

    @property
    def variance(self) -> np.ndarray:
        """(dim,) population variance; that of no frames is 0."""
        count = max(self.count, 1)
        return np.maximum(self.squares / count - np.square(self.total / count), 0.0)

    @property
    def spread(self) -> np.ndarray:
        """(dim,) standard deviation with 0 replaced by 1, so that one can divide by it (SPEC 2.6)."""
        deviation = np.sqrt(self.variance)
        return np.where(deviation > 0, deviation, 1.0)

    def pooled_variance(self, centre: np.ndarray | float = 0.0, scale: np.ndarray | float = 1.0) -> float:
        """Variance over all elements of (frames - centre) / scale: one scalar over frames and dimensions (SPEC 2.6).

        centre, scale: (dim,) or scalar. Law of total variance: mean of the variances plus variance of the means.
        """
        within = np.mean(self.variance / np.square(scale))
        between = np.var((self.mean - centre) / scale)
        return float(within + between)
