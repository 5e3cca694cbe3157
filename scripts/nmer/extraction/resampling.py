"""Fewer frames per second, as the published acoustic features were made."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly


def downsampled(values: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
    """Values (frames, dim) low-pass filtered and thinned out to ceil(frames / factor) rows; zeros beyond the ends.

    Source: MMIN's ``preprocess/IEMOCAP/make_comparE.py``, ``scipy.signal.resample_poly(up=1, down=10)``.
    """
    if factor == 1:
        return values
    thinned: NDArray[np.float64] = resample_poly(values, up=1, down=factor, axis=0)
    return thinned
