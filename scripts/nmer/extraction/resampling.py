"""Down-sampling of frames, as in the published acoustic features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly


def downsampled(values: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
    """Low-pass filter values (frames, dim) and down-sample them to ceil(frames / factor) rows, with zeros at the ends.

    Source: MMIN's ``preprocess/IEMOCAP/make_comparE.py``, ``scipy.signal.resample_poly(up=1, down=10)``.
    """
    if factor == 1:
        return values
    resampled: NDArray[np.float64] = resample_poly(values, up=1, down=factor, axis=0)
    return resampled
