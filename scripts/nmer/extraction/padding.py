"""A fixed number of frames, as in published features that are cut and zero-padded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def padded(values: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    """Values (n, dim) cut, or filled with rows of zeros, to ``frames``; unchanged for 0 frames."""
    if not frames:
        return values
    kept = values[:frames]
    return np.concatenate([kept, np.zeros((frames - len(kept), values.shape[1]), np.float32)])
