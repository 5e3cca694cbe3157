"""Not-a-number and infinite feature values become 0, and are counted (SPEC 5.2, applied to every corpus).

The extremes of float types count as infinite: see :mod:`nmer.finite`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nmer.finite import restore_infinities

KINDS = ("nan", "+inf", "-inf")


def repair(values: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """Values as float32 with every non-finite one replaced by 0, and how many of each kind there were.

    values: any shape, any real type. A float64 beyond float32's range counts as infinite, and so does the largest
    value of a float type. The input is not changed.
    """
    values = np.asarray(values)
    repaired = np.empty(values.shape, np.float32)
    cast(values, repaired)
    return repaired, repair_in_place(repaired)


def cast(values: np.ndarray, into: np.ndarray) -> None:
    """Copy values of any real type into a float32 array of their shape; what is beyond its range becomes infinite, and
    so does the largest value of a float type, of whatever float type it is stored in."""
    with np.errstate(over="ignore"):
        into[...] = values
    if values.dtype.kind == "f":
        restore_infinities(into)


def repair_in_place(values: np.ndarray) -> dict[str, int]:
    """Replace every non-finite one of float32 values by 0; returns how many of each kind there were."""
    finite = np.isfinite(values)
    if finite.all():
        return dict.fromkeys(KINDS, 0)
    broken = values[~finite]
    values[~finite] = 0
    counts = (np.isnan(broken), broken == np.inf, broken == -np.inf)
    return {kind: int(found.sum()) for kind, found in zip(KINDS, counts, strict=True)}


def add_counts(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    """Sum of two counts of repairs."""
    return {kind: first.get(kind, 0) + second.get(kind, 0) for kind in KINDS}
