"""The modality set to zero: the field's oldest way to make data incomplete. Has no SNR."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nmer.noise.registry import noise_kind


@noise_kind("zero", additive=False)
def zero(values: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    """Zeros in the features' own units. values: (frames, dim) float32. Returns float32 of the same shape."""
    return np.zeros_like(values)
