"""Replacement of NaN and infinite feature values by 0, with counts (SPEC 5.2, applied to every corpus).

Extremes of float types count as infinite: see :mod:`nmer.finite`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nmer.finite import restore_infinities

KINDS = ("nan", "+inf", "-inf")


def repair(values: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """Return values as float32 with non-finite ones replaced by 0, and counts per kind.

    values: any shape, any real type. A float64 beyond the range of float32 counts as infinite, as does the largest
    value of a float type. The input is not changed.
    """
    values = np.asarray(values)
    repaired = np.empty(values.shape, np.float32)
    cast(values, repaired)
    return repaired, repair_in_place(repaired)


def cast(values: np.ndarray, into: np.ndarray) -> None:
    """Copy values of any real type into a float32 array of the same shape.

    Values beyond its range become infinite, as does the largest value of any float type.
    """
    with np.errstate(over="ignore"):
        into[...] = values
    if values.dtype.kind == "f":
        restore_infinities(into)


def repair_in_place(values: np.ndarray) -> dict[str, int]:
    """Replace non-finite float32 values by 0 in place. Returns counts per kind."""
    finite = np.isfinite(values)
    if finite.all():
        return dict.fromkeys(KINDS, 0)
    replaced = values[~finite]
    values[~finite] = 0
    counts = (np.isnan(replaced), replaced == np.inf, replaced == -np.inf)
    return {kind: int(found.sum()) for kind, found in zip(KINDS, counts, strict=True)}


def add_counts(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    """Return the sum of two counts of repairs."""
    return {kind: first.get(kind, 0) + second.get(kind, 0) for kind in KINDS}
