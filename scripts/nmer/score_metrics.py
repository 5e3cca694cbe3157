"""Compute metrics of predicted scores: error, correlation, and accuracies of binned scores (SPEC 14).

Each function returns the metric and its influences, which give the variance of a score. An influence is the derivative
of the metric by the weight of one utterance. Definitions as in MMSA's ``MetricsTop``. Names, labels and directions are
in :mod:`nmer.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Measure = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From labels (n,), predictions (..., n) and a mask of the tested ones, (..., n) bool, to the metric (...), NaN where
undefined, and the influences (..., n), zero for utterances that are not tested."""

CountMetric = Callable[[np.ndarray], np.ndarray]
"""A function of confusion matrices, (..., bins, bins)."""

SIMS_BOUNDS = {2: (0.0,), 3: (-0.1, 0.1), 5: (-0.7, -0.1, 0.1, 0.7)}
"""Number of classes of CH-SIMS -> the scores that separate them; each belongs to the lower class."""

CONSTANT = 1e-6
"""Values whose range is at most this share of the largest one are constant up to single-precision rounding."""


def count_cells(cells: np.ndarray, tested: np.ndarray, bins: int) -> np.ndarray:
    """Count pairs into confusion matrices (..., bins, bins). cells: ``label * bins + prediction``, (..., n). tested:
    (..., n) bool."""
    counts = np.zeros((*cells.shape[:-1], bins * bins))
    for place in np.ndindex(cells.shape[:-1]):
        counts[place] = np.bincount(cells[place][tested[place]], minlength=bins * bins)
    return counts.reshape(*cells.shape[:-1], bins, bins)


def influences_of_cells(slope: CountMetric, counts: np.ndarray, cells: np.ndarray, tested: np.ndarray) -> np.ndarray:
    """Compute the influences (..., n) of pairs on a metric of counts. slope: its derivative by each count. cells,
    tested: as for :func:`count_cells`, which returned ``counts``."""
    slopes = np.broadcast_to(slope(counts), counts.shape).reshape(*counts.shape[:-2], -1)
    influences: np.ndarray = np.take_along_axis(slopes, cells, axis=-1) * tested
    return influences


def absolute_error(labels: np.ndarray, predictions: np.ndarray, tested: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the mean absolute error, a :data:`Measure`."""
    errors = np.where(tested, np.abs(predictions - labels), 0.0)
    count = tested.sum(axis=-1, keepdims=True)
    mean = errors.sum(axis=-1, keepdims=True) / np.maximum(count, 1)
    influences = np.where(tested, errors - mean, 0.0) / np.maximum(count, 1)
    return np.where(count > 0, mean, np.nan)[..., 0], influences


def correlation(labels: np.ndarray, predictions: np.ndarray, tested: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute Pearson's correlation, a :data:`Measure`, undefined if labels or predictions are constant."""
    standard = []
    defined = np.ones(tested.shape[:-1], bool)
    count = np.maximum(tested.sum(axis=-1, keepdims=True), 1)
    for values in (np.broadcast_to(labels, tested.shape), predictions):
        values = np.where(tested, values, 0.0)
        centred = np.where(tested, values - values.sum(axis=-1, keepdims=True) / count, 0.0)
        spread = np.abs(centred).max(axis=-1)
        defined &= spread > CONSTANT * np.abs(values).max(axis=-1)
        deviation = np.sqrt((centred**2).sum(axis=-1, keepdims=True) / count)
        standard.append(centred / np.where(deviation > 0, deviation, 1.0))
    one, other = standard
    found = (one * other).sum(axis=-1, keepdims=True) / count
    influences = (one * other - found / 2 * (one**2 + other**2)) / count
    return np.where(defined, found[..., 0].clip(-1, 1), np.nan), np.where(defined[..., None], influences, np.nan)


def clipped(measure: Measure, largest: float) -> Measure:
    """Return a metric of labels and predictions that are first clipped to -largest..largest."""
    return lambda labels, predictions, tested: measure(
        labels.clip(-largest, largest), predictions.clip(-largest, largest), tested
    )


def binned(
    value: CountMetric,
    slope: CountMetric,
    bins: int,
    bin_of: Callable[[np.ndarray], np.ndarray],
    without_zero: bool = False,
) -> Measure:
    """Return a metric of the confusion matrix of binned scores.

    bin_of: from scores to bin numbers, 0 to ``bins`` - 1. without_zero: whether utterances with label 0 are left out.
    """

    def measure(labels: np.ndarray, predictions: np.ndarray, tested: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        counted = tested & (labels != 0) if without_zero else tested
        pairs = bin_of(labels) * bins + bin_of(np.where(tested, predictions, 0.0))
        cells = np.where(counted, pairs, 0)
        counts = count_cells(cells, counted, bins)
        return value(counts), influences_of_cells(slope, counts, cells, counted)

    return measure


def from_zero(scores: np.ndarray) -> np.ndarray:
    """Return bin 1 for a score of at least 0, else bin 0."""
    return (scores >= 0).astype(np.int64)


def above_zero(scores: np.ndarray) -> np.ndarray:
    """Return bin 1 for a score above 0, else bin 0."""
    return (scores > 0).astype(np.int64)


def rounded(largest: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that clips scores to -largest..largest and rounds them to bins, halves to even."""
    return lambda scores: np.rint(scores.clip(-largest, largest)).astype(np.int64) + largest


def sims_class(classes: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from scores to the bins of CH-SIMS with this number of classes."""
    bounds = np.array(SIMS_BOUNDS[classes], np.float32)
    # The corpus stores labels in single precision, in which 0.1 is above 0.1 in double precision.
    return lambda scores: np.searchsorted(bounds, scores.astype(np.float32), side="left")
