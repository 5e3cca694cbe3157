"""Overlap of time intervals, and means of one stream's frames over the intervals of another. Reads no files.

An interval is a row (start, end) in seconds. Intervals that only touch do not overlap. An interval of zero length is a
point: it overlaps the interval that contains it and, at the boundary of two intervals, the later one. Intervals may be
unsorted, nested and overlapping.
"""

from __future__ import annotations

import numpy as np

SHORTEST_OVERLAP = 1e-5
"""Longest shared time in seconds of intervals that only touch: 0.3 may be stored as 0.30000000000000004.
Source: ``epsilon`` of the CMU Multimodal SDK, ``10e-6``."""


def overlapping(targets: np.ndarray, items: np.ndarray) -> list[np.ndarray]:
    """Return, for each of the ``targets`` (n, 2), the overlapping rows of ``items`` (m, 2), by start, end and row.

    Times must be finite and ends not before starts.
    """
    start, stop = _effective_bounds(items)
    order = np.lexsort((stop, start))
    start, stop = start[order], stop[order]
    # Nested items make ends unsorted. The latest end so far is sorted: no item overlaps before it reaches the target.
    latest = np.maximum.accumulate(stop)
    target_start, target_stop = _effective_bounds(targets)
    first = np.searchsorted(latest, target_start, side="right")
    last = np.searchsorted(start, target_stop, side="left")
    return [
        order[begin:end][stop[begin:end] > instant]
        for begin, end, instant in zip(first, last, target_start, strict=True)
    ]


def average(features: np.ndarray, frames: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Return (n, dim) float64: the unweighted mean of the frames that overlap each of the ``words`` (n, 2), or zeros.

    features: (m, dim) of any real type. frames: their intervals (m, 2). NaN and infinities affect only the means of the
    words that they overlap, because every mean is summed separately.
    """
    means = np.zeros((len(words), features.shape[1]))
    with np.errstate(invalid="ignore", over="ignore"):
        for word, rows in enumerate(overlapping(words, frames)):
            if len(rows):
                means[word] = features[rows].mean(axis=0, dtype=np.float64)
    return means


def _effective_bounds(intervals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return starts and ends such that two intervals overlap if each starts before the other ends.

    Ends are moved earlier by the shortest overlap, and points become slightly longer than a touch.
    """
    start, end = np.asarray(intervals, np.float64).T
    return start, np.maximum(end - SHORTEST_OVERLAP, start + SHORTEST_OVERLAP)
