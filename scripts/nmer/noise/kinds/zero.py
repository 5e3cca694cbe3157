"""A modality set to zero, the oldest simulation of incomplete data in the field. Has no SNR."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nmer.noise.registry import noise_kind


@noise_kind("zero", additive=False)
def zero(values: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    """Return zeros in the units of the features. values: (frames, dim) float32. Returns float32 of the same shape."""
    return np.zeros_like(values)
