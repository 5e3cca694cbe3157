"""The modality set to zero: the field's oldest way to make data incomplete. Has no SNR."""

from __future__ import annotations

import numpy as np

from nmer.noise.registry import noise_kind


@noise_kind("zero", additive=False)
def zero(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Zeros in the features' own units. values: (frames, dim) float32. Returns float32 of the same shape."""
    return np.zeros_like(values)
