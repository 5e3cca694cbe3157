"""The modality missing as MMIN has it: its model's input is zero, after normalisation. Has no SNR.

Differs from ``zero`` where a modality is standardised: MMIN multiplies the normalised features by 0, which in the
features' own units is their mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nmer.noise.registry import noise_kind


@noise_kind("missing", additive=False, standardised=True)
def missing(values: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    """Zeros in standardised units. values: (frames, dim) float32. Returns float32 of the same shape."""
    return np.zeros_like(values)
