"""Which values count as infinite: infinities, and the extremes of float types that tools put in their place."""

from __future__ import annotations

import numpy as np

LARGEST_FLOAT = np.float32(3.38e38)
"""From here on a value counts as infinite. The largest bfloat16 is 3.3895e38, the largest float32 3.4028e38.
``np.nan_to_num`` and ``torch.nan_to_num`` put the largest value of a type in the place of an infinity."""

LARGEST_HALF = np.float32(65504.0)
"""The largest float16. Larger values are ordinary ones of wider types, so this value alone counts as infinite."""


def restore_infinities(values: np.ndarray) -> None:
    """Make the extremes of float types infinite, in place. values: any shape, float16, float32 or float64."""
    if not values.size:
        return
    with np.errstate(invalid="ignore"):
        # Two passes without temporary arrays settle nearly every array. Not-a-number fails the comparison.
        if values.max() < LARGEST_HALF and values.min() > -LARGEST_HALF:
            return
        size = np.abs(values)
        extreme = (size == LARGEST_HALF) | (size >= LARGEST_FLOAT)
        values[extreme] = np.copysign(np.inf, values[extreme])


def all_finite(values: np.ndarray) -> bool:
    """Whether every value is finite and none is an extreme of a float type. values: any shape, any real type."""
    if values.dtype.kind != "f":
        return True
    restored = values.copy()
    restore_infinities(restored)
    return bool(np.isfinite(restored).all())
