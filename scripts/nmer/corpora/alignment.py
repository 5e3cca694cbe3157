"""Which intervals of time overlap, and the mean of one stream's frames over each interval of another. Reads no files.

An interval is a row (start, end) in seconds. Two that only touch do not overlap. One of zero length is a point; it
overlaps the interval it lies in and, where one interval ends and the next begins, the next. Intervals may come in any
order, nest and overlap each other.
"""

from __future__ import annotations

import numpy as np

SHORTEST_OVERLAP = 1e-5
"""Intervals that share no more than this, in seconds, only touch: 0.3 may be stored as 0.30000000000000004.
Source: ``epsilon`` of the CMU Multimodal SDK, ``10e-6``."""


def overlapping(targets: np.ndarray, items: np.ndarray) -> list[np.ndarray]:
    """For each of the ``targets`` (n, 2) the rows of ``items`` (m, 2) that overlap it, by start, then end, then row.

    Times are finite and no end is before its start.
    """
    start, stop = _reach(items)
    order = np.lexsort((stop, start))
    start, stop = start[order], stop[order]
    # Items may nest, so their ends need not be sorted. The latest end so far is: before it reaches a target's start,
    # no item does.
    latest = np.maximum.accumulate(stop)
    target_start, target_stop = _reach(targets)
    first = np.searchsorted(latest, target_start, side="right")
    last = np.searchsorted(start, target_stop, side="left")
    return [
        order[begin:end][stop[begin:end] > instant]
        for begin, end, instant in zip(first, last, target_start, strict=True)
    ]


def average(features: np.ndarray, frames: np.ndarray, words: np.ndarray) -> np.ndarray:
    """(n, dim) float64: for each of the ``words`` (n, 2) the unweighted mean of the frames that overlap it, else zeros.

    features: (m, dim) any real type; frames: their intervals (m, 2). Not-a-number and infinities stay in the means of
    the words they belong to, and reach no other: every mean is a sum of its own.
    """
    means = np.zeros((len(words), features.shape[1]))
    with np.errstate(invalid="ignore", over="ignore"):
        for word, rows in enumerate(overlapping(words, frames)):
            if len(rows):
                means[word] = features[rows].mean(axis=0, dtype=np.float64)
    return means


def _reach(intervals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Start and end of each interval, such that two overlap if each one's start is before the other's end: ends are
    drawn in by the shortest overlap, and a point is given a little more than a touch."""
    start, end = np.asarray(intervals, np.float64).T
    return start, np.maximum(end - SHORTEST_OVERLAP, start + SHORTEST_OVERLAP)
