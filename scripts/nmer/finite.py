"""Detect infinite values, including the largest values of float types that some tools replace infinities with."""

from __future__ import annotations

import numpy as np

LARGEST_FLOAT = np.float32(3.38e38)
"""Values from here on count as infinite. The largest bfloat16 is 3.3895e38, the largest float32 3.4028e38.
``np.nan_to_num`` and ``torch.nan_to_num`` replace an infinity with the largest value of its type."""

LARGEST_HALF = np.float32(65504.0)
"""The largest float16. Only this value counts as infinite, as larger ones are ordinary values of wider types."""


def restore_infinities(values: np.ndarray) -> None:
    """Replace the largest values of float types with infinities, in place. values: any shape, float16 to float64."""
    if not values.size:
        return
    with np.errstate(invalid="ignore"):
        # For nearly every array, these two passes without temporary arrays suffice. NaN fails the comparison.
        if values.max() < LARGEST_HALF and values.min() > -LARGEST_HALF:
            return
        size = np.abs(values)
        extreme = (size == LARGEST_HALF) | (size >= LARGEST_FLOAT)
        values[extreme] = np.copysign(np.inf, values[extreme])


def all_finite(values: np.ndarray) -> bool:
    """Whether every value is finite and none is the largest of a float type. values: any shape, any real type."""
    if values.dtype.kind != "f":
        return True
    restored = values.copy()
    restore_infinities(restored)
    return bool(np.isfinite(restored).all())
