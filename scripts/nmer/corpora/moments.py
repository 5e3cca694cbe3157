"""Means and variances of feature frames, accumulated piece by piece in float64.

Sums have a fixed order and use no matrix product, so they are equal on every machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

PIECE_ELEMENTS = 2**16
"""Elements centred and squared at once: as float64 they fit into the processor's cache."""

ALIKE = 1e-6
"""A variance below this share of the mean square may be 0. Well above the rounding error of 0."""


@dataclass(frozen=True)
class Moments:
    """Count, sum and sum of squares per dimension of frames minus a fixed ``shift``, and bounds of their values.

    The shift (any typical frame) keeps the sums small. low, high: equal where all frames are equal, else different.
    They identify constant dimensions: with rounded sums, a variance could be 1e-17, not 0, and be divided by.
    """

    shift: np.ndarray
    count: int
    total: np.ndarray
    squares: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, frames: np.ndarray, shift: np.ndarray) -> Moments:
        """Compute the moments of frames (n, dim). shift: (dim,) float64."""
        total, squares = np.zeros(len(shift)), np.zeros(len(shift))
        low, high = np.full(len(shift), np.inf), np.full(len(shift), -np.inf)
        rows = max(1, PIECE_ELEMENTS // max(1, len(shift)))
        for first in range(0, len(frames), rows):
            piece = frames[first : first + rows]
            centred = np.subtract(piece, shift, dtype=np.float64)
            piece_total = centred.sum(axis=0)
            piece_squares = np.square(centred, out=centred).sum(axis=0)
            piece_low, piece_high = _bounds(piece, piece_total, piece_squares)
            low, high = np.minimum(low, piece_low), np.maximum(high, piece_high)
            total += piece_total
            squares += piece_squares
        return cls(shift, len(frames), total, squares, low, high)

    @classmethod
    def of_zeros(cls, count: int, shift: np.ndarray) -> Moments:
        """Compute the moments of ``count`` frames of zeros."""
        bound = np.full(len(shift), 0.0 if count else np.inf)
        return cls(shift, count, -count * shift, count * np.square(shift), bound, -bound)

    def __add__(self, other: Moments) -> Moments:
        """Combine the moments of two sets of frames, which must have the same shift."""
        return Moments(
            self.shift,
            self.count + other.count,
            self.total + other.total,
            self.squares + other.squares,
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
        )

    @property
    def mean(self) -> np.ndarray:
        """Return the mean, (dim,); 0 without frames."""
        mean = self.shift + self.total / self.count if self.count else np.zeros_like(self.total)
        return np.where(self.low == self.high, self.low, mean)

    @property
    def variance(self) -> np.ndarray:
        """Return the population variance, (dim,); 0 without frames."""
        count = max(self.count, 1)
        variance = np.maximum(self.squares / count - np.square(self.total / count), 0.0)
        return np.where(self.low == self.high, 0.0, variance)

    @property
    def spread(self) -> np.ndarray:
        """Return the standard deviation, (dim,), with 0 replaced by 1 to allow division (SPEC 2.6)."""
        deviation = np.sqrt(self.variance)
        return np.where(deviation > 0, deviation, 1.0)

    def pooled_variance(self, centre: np.ndarray | float = 0.0, scale: np.ndarray | float = 1.0) -> float:
        """Return the variance over all elements of (frames - centre) / scale, one scalar (SPEC 2.6).

        centre, scale: (dim,) or scalar. Law of total variance: mean of the variances plus variance of the means.
        """
        within = np.mean(self.variance / np.square(scale))
        between = np.var((self.mean - centre) / scale)
        return float(within + between)


class GroupedMoments:
    """Moments of the frames of a corpus by group of utterances. Moments of unions of groups follow from them.

    group_of: (n,) group of each utterance, from 0. Frames of zeros (padding) are counted separately and can be
    excluded. ``zero_utterances`` is the number of utterances without other frames.
    """

    def __init__(self, group_of: np.ndarray) -> None:
        self.zero_utterances = 0
        self._group_of = group_of
        self._shift: np.ndarray | None = None
        self._filled: dict[int, Moments] = {}
        self._zeros: Counter[int] = Counter()

    def add(self, first: int, frames: np.ndarray, bounds: np.ndarray) -> None:
        """Add the frames (rows, dim) of utterances ``first``, ``first + 1``, …; the i-th has the frames ``bounds[i]``
        to ``bounds[i + 1]``."""
        if self._shift is None:
            self._shift = typical_frame(frames[: bounds[1]])
        filled = np.any(frames, axis=1)
        self.zero_utterances += int((np.diff(np.append(0, np.cumsum(filled))[bounds]) == 0).sum())
        groups = self._group_of[first : first + len(bounds) - 1]
        changes = np.flatnonzero(np.diff(groups)) + 1
        for start, stop in pairwise([0, *changes.tolist(), len(groups)]):
            run = slice(bounds[start], bounds[stop])
            self._add_run(int(groups[start]), frames[run], filled[run], self._shift)

    def of(self, groups: Collection[int] | None = None, zeros: bool = True) -> Moments:
        """Return moments over the frames of some groups, by default all, with or without frames of zeros."""
        if self._shift is None:
            raise ValueError("Add frames before reading moments.")
        groups = sorted(self._filled) if groups is None else groups
        moments = Moments.of_zeros(sum(self._zeros[group] for group in groups) if zeros else 0, self._shift)
        for group in groups:
            moments += self._filled[group]
        return moments

    def _add_run(self, group: int, frames: np.ndarray, filled: np.ndarray, shift: np.ndarray) -> None:
        kept = frames if filled.all() else frames[filled]
        moments = Moments.of(kept, shift)
        self._filled[group] = self._filled[group] + moments if group in self._filled else moments
        self._zeros[group] += len(frames) - len(kept)


def _bounds(frames: np.ndarray, total: np.ndarray, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ``low`` and ``high`` of some frames.

    total, squares: their sums, which show for most dimensions that values differ. Computing minimum and maximum of all
    dimensions would double the time.
    """
    low, high = np.full(len(total), -np.inf), np.full(len(total), np.inf)
    alike = len(frames) * squares - np.square(total) <= ALIKE * len(frames) * squares
    if alike.any():
        low[alike], high[alike] = frames[:, alike].min(axis=0), frames[:, alike].max(axis=0)
    return low, high


def typical_frame(frames: np.ndarray) -> NDArray[np.float64]:
    """Return a shift for :class:`Moments`, (dim,): the mean of some frames (n, dim), n >= 1.

    Where all frames are equal, it is exactly their value, so a constant dimension sums to exactly 0.
    """
    agree = (frames == frames[0]).all(axis=0)
    shift: NDArray[np.float64] = np.where(agree, frames[0], frames.mean(axis=0, dtype=np.float64))
    return shift
