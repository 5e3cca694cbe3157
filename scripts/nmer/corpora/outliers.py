"""Detection of outliers that dominate the variance of a modality, to which noise is calibrated (SPEC 2.6).

Example: features in which -inf was replaced by a large number. They look normal, but their SNR is meaningless.
"""

from __future__ import annotations

import numpy as np

from nmer.corpora.moments import PIECE_ELEMENTS, Moments

MAX_OUTLIERS = 10
VALUES_PER_OUTLIER = 1000
"""Outliers are at most MAX_OUTLIERS values and at most one in VALUES_PER_OUTLIER: in a small corpus any few values
matter."""

VARIANCE_SHARE = 0.5
"""Share of the variance above which outliers are reported."""

FAR_DEVIATIONS = 100
"""A frequent value is reported if it is this many standard deviations of all others away from their mean."""


class Outliers:
    """Collects the largest and smallest values of a modality, block by block."""

    def __init__(self) -> None:
        self._extreme: dict[int, tuple[float, int]] = {}
        """The largest (1) and the smallest (-1) value, and its number of occurrences."""
        self._kept = {sign: (np.empty(0, np.float32), np.empty(0, np.int64)) for sign in (1, -1)}

    def add(self, frames: np.ndarray) -> None:
        """Add frames (rows, dim) of finite float32 values."""
        for first in range(0, frames.size, PIECE_ELEMENTS):
            piece = frames.reshape(-1)[first : first + PIECE_ELEMENTS]
            for sign, (values, _dimensions) in self._kept.items():
                farthest = piece.max() if sign > 0 else piece.min()
                self._count(sign, float(farthest), piece)
                if len(values) < MAX_OUTLIERS or sign * farthest > sign * values[-1]:
                    self._take(sign, piece, first, frames.shape[1])

    def _count(self, sign: int, farthest: float, piece: np.ndarray) -> None:
        value, count = self._extreme.get(sign, (-sign * np.inf, 0))
        if sign * farthest >= sign * value:
            occurrences = int(np.count_nonzero(piece == np.float32(farthest)))
            self._extreme[sign] = (farthest, occurrences + (count if farthest == value else 0))

    def _take(self, sign: int, piece: np.ndarray, first: int, dim: int) -> None:
        """Keep the farthest values of the kept ones and of a piece that starts at element ``first`` of its frames."""
        values, dimensions = self._kept[sign]
        positions = np.arange(len(piece))
        if len(positions) > MAX_OUTLIERS:
            positions = np.argpartition(-sign * piece, MAX_OUTLIERS)[:MAX_OUTLIERS]
        values = np.concatenate([values, piece[positions]])
        dimensions = np.concatenate([dimensions, (first + positions) % dim])
        order = np.argsort(-sign * values, kind="stable")[:MAX_OUTLIERS]
        self._kept[sign] = values[order], dimensions[order]

    def warnings(self, modality: str, moments: Moments, standardised: bool) -> list[str]:
        """Return a warning if a few values, or one frequent value, make most of the variance.

        moments: of all added frames. standardised: whether noise acts in units of each dimension's standard deviation,
        so dimensions are checked separately.
        """
        values = np.concatenate([kept for kept, _dimensions in self._kept.values()]).astype(np.float64)
        dimensions = np.concatenate([found for _values, found in self._kept.values()])
        if repeated := self._repeated(modality, moments):
            return repeated
        if standardised:
            return self._by_dimension(modality, moments, values, dimensions)
        elements = moments.count * len(moments.mean)
        maximum = min(MAX_OUTLIERS, elements // VALUES_PER_OUTLIER)
        total = elements * moments.pooled_variance()
        count, share = _dominant_values(values, float(moments.mean.mean()), total, maximum)
        if not count:
            return []
        return [
            f"Modality {modality}: {count} of {elements} values make {share:.0%} of its variance; the most extreme "
            f"is {_farthest(values, float(moments.mean.mean())):.4g}. {_ADVICE}"
        ]

    def _repeated(self, modality: str, moments: Moments) -> list[str]:
        """Warn about a value that marks missing values, such as -9999: frequent and far from all others."""
        elements, mean = moments.count * len(moments.mean), float(moments.mean.mean())
        total = elements * moments.pooled_variance()
        others = elements - sum(count for _value, count in self._extreme.values())
        for value, count in self._extreme.values():
            rest = elements - count
            if count <= MAX_OUTLIERS or others <= 0 or total <= 0:  # a modality with two values has no others
                continue
            distance = (value - mean) * elements / rest  # from the mean of all others
            between = distance * distance * count * rest / elements
            deviation = np.sqrt(max(total - between, 0.0) / rest)
            if between > VARIANCE_SHARE * total and abs(distance) > FAR_DEVIATIONS * deviation:
                return [
                    f"Modality {modality}: {count} of {elements} values are {value:.4g}, far from all others, and make "
                    f"{between / total:.0%} of its variance. {_ADVICE}"
                ]
        return []

    def _by_dimension(self, modality: str, moments: Moments, values: np.ndarray, dimensions: np.ndarray) -> list[str]:
        maximum = min(MAX_OUTLIERS, moments.count // VALUES_PER_OUTLIER)
        mean, total = moments.mean, moments.count * moments.variance
        found = [
            dimension
            for dimension in np.unique(dimensions).tolist()
            if _dominant_values(values[dimensions == dimension], mean[dimension], total[dimension], maximum)[0]
        ]
        if not found:
            return []
        extremes = values[dimensions == found[0]]
        return [
            f"Modality {modality}: in {len(found)} of {len(mean)} dimensions at most {maximum} of {moments.count} "
            f"values make most of the variance, for example {_farthest(extremes, mean[found[0]]):.4g} in dimension "
            f"{found[0]}. {_ADVICE}"
        ]


_ADVICE = "Check what they mean: the noise level is calibrated to the variance."


def _dominant_values(values: np.ndarray, mean: float, total: float, maximum: int) -> tuple[int, float]:
    """Return the smallest number of values, at most ``maximum``, that make most of a sum of squares, and their share.

    Both are 0 if there are none.
    """
    if total <= 0:
        return 0, 0.0
    shares = np.cumsum(np.sort(np.square(values - mean))[::-1][:maximum]) / total
    enough = np.flatnonzero(shares > VARIANCE_SHARE)
    return (int(enough[0]) + 1, float(shares[enough[0]])) if len(enough) else (0, 0.0)


def _farthest(values: np.ndarray, mean: float) -> float:
    return float(values[np.argmax(np.abs(values - mean))])
