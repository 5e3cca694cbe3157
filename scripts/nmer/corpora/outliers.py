"""Whether a handful of values makes most of a modality's variance, by which its noise is calibrated (SPEC 2.6).

Features in which -inf was replaced by a large number look ordinary, and no SNR of theirs means anything.
"""

from __future__ import annotations

import numpy as np

from nmer.corpora.moments import PIECE_ELEMENTS, Moments

HANDFUL = 10
VALUES_PER_OUTLIER = 1000
"""A handful is at most HANDFUL values, and at most one in this many: in a small corpus any few values weigh."""

MOST = 0.5
"""The share of the variance that is reported."""

FAR = 100
"""A value that occurs often is reported if it lies this many standard deviations of all others from their mean."""


class Outliers:
    """The largest and the smallest values of a modality, gathered block by block."""

    def __init__(self) -> None:
        self._extreme: dict[int, tuple[float, int]] = {}
        """The largest (1) and the smallest (-1) value, and how often it occurs."""
        self._kept = {sign: (np.empty(0, np.float32), np.empty(0, np.int64)) for sign in (1, -1)}

    def add(self, frames: np.ndarray) -> None:
        """Take in some frames (rows, dim) of finite float32 values."""
        for first in range(0, frames.size, PIECE_ELEMENTS):
            piece = frames.reshape(-1)[first : first + PIECE_ELEMENTS]
            for sign, (values, _dimensions) in self._kept.items():
                farthest = piece.max() if sign > 0 else piece.min()
                self._count(sign, float(farthest), piece)
                if len(values) < HANDFUL or sign * farthest > sign * values[-1]:
                    self._take(sign, piece, first, frames.shape[1])

    def _count(self, sign: int, farthest: float, piece: np.ndarray) -> None:
        value, count = self._extreme.get(sign, (-sign * np.inf, 0))
        if sign * farthest >= sign * value:
            here = int(np.count_nonzero(piece == np.float32(farthest)))
            self._extreme[sign] = (farthest, here + (count if farthest == value else 0))

    def _take(self, sign: int, piece: np.ndarray, first: int, dim: int) -> None:
        """Keep the farthest of what was kept and of a piece that begins at element ``first`` of its frames."""
        values, dimensions = self._kept[sign]
        places = np.arange(len(piece))
        if len(places) > HANDFUL:
            places = np.argpartition(-sign * piece, HANDFUL)[:HANDFUL]
        values = np.concatenate([values, piece[places]])
        dimensions = np.concatenate([dimensions, (first + places) % dim])
        order = np.argsort(-sign * values, kind="stable")[:HANDFUL]
        self._kept[sign] = values[order], dimensions[order]

    def warnings(self, modality: str, moments: Moments, standardised: bool) -> list[str]:
        """A sentence if a handful of values, or one value that occurs often, makes most of the variance, else none.

        moments: of all frames that were added. standardised: whether noise acts in units of each dimension's spread,
        so that each dimension counts by itself.
        """
        values = np.concatenate([kept for kept, _dimensions in self._kept.values()]).astype(np.float64)
        dimensions = np.concatenate([found for _values, found in self._kept.values()])
        if repeated := self._repeated(modality, moments):
            return repeated
        if standardised:
            return self._by_dimension(modality, moments, values, dimensions)
        elements = moments.count * len(moments.mean)
        most = min(HANDFUL, elements // VALUES_PER_OUTLIER)
        total = elements * moments.pooled_variance()
        count, share = _fewest(values, float(moments.mean.mean()), total, most)
        if not count:
            return []
        return [
            f"Modality {modality}: {count} of {elements} values make {share:.0%} of its variance; the one farthest out "
            f"is {_farthest(values, float(moments.mean.mean())):.4g}. {_ADVICE}"
        ]

    def _repeated(self, modality: str, moments: Moments) -> list[str]:
        """A sentence on a value that stands for missing ones, such as -9999: it occurs often, far from all others."""
        elements, mean = moments.count * len(moments.mean), float(moments.mean.mean())
        total = elements * moments.pooled_variance()
        others = elements - sum(count for _value, count in self._extreme.values())
        for value, count in self._extreme.values():
            rest = elements - count
            if count <= HANDFUL or others <= 0 or total <= 0:  # a modality of two values has no others
                continue
            distance = (value - mean) * elements / rest  # from the mean of all others
            between = distance * distance * count * rest / elements
            deviation = np.sqrt(max(total - between, 0.0) / rest)
            if between > MOST * total and abs(distance) > FAR * deviation:
                return [
                    f"Modality {modality}: {count} of {elements} values are {value:.4g}, far from all others, and make "
                    f"{between / total:.0%} of its variance. {_ADVICE}"
                ]
        return []

    def _by_dimension(self, modality: str, moments: Moments, values: np.ndarray, dimensions: np.ndarray) -> list[str]:
        most = min(HANDFUL, moments.count // VALUES_PER_OUTLIER)
        mean, total = moments.mean, moments.count * moments.variance
        found = [
            dimension
            for dimension in np.unique(dimensions).tolist()
            if _fewest(values[dimensions == dimension], mean[dimension], total[dimension], most)[0]
        ]
        if not found:
            return []
        here = values[dimensions == found[0]]
        return [
            f"Modality {modality}: in {len(found)} of {len(mean)} dimensions at most {most} of {moments.count} values "
            f"make most of the variance, {_farthest(here, mean[found[0]]):.4g} in dimension {found[0]} for one. "
            f"{_ADVICE}"
        ]


_ADVICE = "Check what they stand for: the noise level is calibrated to the variance."


def _fewest(values: np.ndarray, mean: float, total: float, most: int) -> tuple[int, float]:
    """How few of the values make most of a sum of squares, at most ``most``, and their share; 0 if none do."""
    if total <= 0:
        return 0, 0.0
    shares = np.cumsum(np.sort(np.square(values - mean))[::-1][:most]) / total
    enough = np.flatnonzero(shares > MOST)
    return (int(enough[0]) + 1, float(shares[enough[0]])) if len(enough) else (0, 0.0)


def _farthest(values: np.ndarray, mean: float) -> float:
    return float(values[np.argmax(np.abs(values - mean))])
