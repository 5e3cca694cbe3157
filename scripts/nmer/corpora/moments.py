"""Means and variances of feature frames, gathered piece by piece in float64.

Sums run in a fixed order and through no matrix product, so they are the same on every machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

PIECE_ELEMENTS = 2**16
"""Elements that are centred and squared at once: as float64 they fit into a processor's cache."""

ALIKE = 1e-6
"""A variance below this share of the mean square may be none at all. Well above what rounding makes of zero."""


@dataclass(frozen=True)
class Moments:
    """Count, sum and sum of squares per dimension of frames less a fixed ``shift``, and bounds of their values.

    The shift (any typical frame) keeps the sums small. low, high: equal where all frames agree, else anything that is
    not. Sums of frames that lie far from the shift are rounded: a variance of 1e-17 in the place of 0 would be divided
    by.
    """

    shift: np.ndarray
    count: int
    total: np.ndarray
    squares: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, frames: np.ndarray, shift: np.ndarray) -> Moments:
        """Moments of frames (n, dim); shift: (dim,) float64."""
        total, squares = np.zeros(len(shift)), np.zeros(len(shift))
        low, high = np.full(len(shift), np.inf), np.full(len(shift), -np.inf)
        rows = max(1, PIECE_ELEMENTS // max(1, len(shift)))
        for first in range(0, len(frames), rows):
            piece = frames[first : first + rows]
            centred = np.subtract(piece, shift, dtype=np.float64)
            piece_total = centred.sum(axis=0)
            piece_squares = np.square(centred, out=centred).sum(axis=0)
            least, most = _bounds(piece, piece_total, piece_squares)
            low, high = np.minimum(low, least), np.maximum(high, most)
            total += piece_total
            squares += piece_squares
        return cls(shift, len(frames), total, squares, low, high)

    @classmethod
    def of_zeros(cls, count: int, shift: np.ndarray) -> Moments:
        """Moments of ``count`` frames of zeros."""
        bound = np.full(len(shift), 0.0 if count else np.inf)
        return cls(shift, count, -count * shift, count * np.square(shift), bound, -bound)

    def __add__(self, other: Moments) -> Moments:
        """Moments of both sets of frames; both must have the same shift."""
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
        """(dim,) mean; that of no frames is 0."""
        mean = self.shift + self.total / self.count if self.count else np.zeros_like(self.total)
        return np.where(self.low == self.high, self.low, mean)

    @property
    def variance(self) -> np.ndarray:
        """(dim,) population variance; that of no frames is 0."""
        count = max(self.count, 1)
        variance = np.maximum(self.squares / count - np.square(self.total / count), 0.0)
        return np.where(self.low == self.high, 0.0, variance)

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


class GroupedMoments:
    """Moments of a corpus' frames by group of utterances, from which those of any union of groups follow.

    group_of: (n,) group of each utterance, from 0. Frames of zeros (padding) are counted apart, to be left out at will.
    ``zero_utterances`` counts the utterances that have no other frames.
    """

    def __init__(self, group_of: np.ndarray) -> None:
        self.zero_utterances = 0
        self._group_of = group_of
        self._shift: np.ndarray | None = None
        self._filled: dict[int, Moments] = {}
        self._zeros: Counter[int] = Counter()

    def add(self, first: int, frames: np.ndarray, bounds: np.ndarray) -> None:
        """Count in the frames (rows, dim) of utterances ``first``, ``first + 1``, …, the i-th of which are
        ``bounds[i]`` to ``bounds[i + 1]``."""
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
        """Moments over the frames of some groups, of all by default, with or without their frames of zeros."""
        if self._shift is None:
            raise ValueError("There are no moments before frames were added.")
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
    """``low`` and ``high`` of some frames. total, squares: their sums, which tell of most dimensions that they differ.

    To look for the least and largest value everywhere would take as long again as the sums."""
    low, high = np.full(len(total), -np.inf), np.full(len(total), np.inf)
    alike = len(frames) * squares - np.square(total) <= ALIKE * len(frames) * squares
    if alike.any():
        low[alike], high[alike] = frames[:, alike].min(axis=0), frames[:, alike].max(axis=0)
    return low, high


def typical_frame(frames: np.ndarray) -> NDArray[np.float64]:
    """A shift for :class:`Moments`, (dim,): the mean of some frames (n, dim), n >= 1.

    In a dimension where they agree it is exactly their value: a constant dimension then sums to exactly 0.
    """
    agree = (frames == frames[0]).all(axis=0)
    shift: NDArray[np.float64] = np.where(agree, frames[0], frames.mean(axis=0, dtype=np.float64))
    return shift
