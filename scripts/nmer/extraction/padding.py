"""Cutting and zero-padding to a fixed number of frames, as in published features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def padded(values: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    """Return values (n, dim) cut or padded with rows of zeros to ``frames``; unchanged if ``frames`` is 0."""
    if not frames:
        return values
    kept = values[:frames]
    return np.concatenate([kept, np.zeros((frames - len(kept), values.shape[1]), np.float32)])
