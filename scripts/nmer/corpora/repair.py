"""Not-a-number and infinite feature values become 0, and are counted (SPEC 5.2, applied to every corpus)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

KINDS = ("nan", "+inf", "-inf")


def repair(values: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """Values as float32 with every non-finite one replaced by 0, and how many of each kind there were.

    values: any shape, any real type. A float64 beyond float32's range counts as infinite. The input is not changed.
    """
    with np.errstate(over="ignore"):
        cast = np.asarray(values).astype(np.float32)
    finite = np.isfinite(cast)
    if finite.all():
        return cast, dict.fromkeys(KINDS, 0)
    broken = cast[~finite]
    cast[~finite] = 0
    counts = (np.isnan(broken), broken == np.inf, broken == -np.inf)
    return cast, {kind: int(found.sum()) for kind, found in zip(KINDS, counts, strict=True)}


def add_counts(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    """Sum of two counts of repairs."""
    return {kind: first.get(kind, 0) + second.get(kind, 0) for kind in KINDS}
