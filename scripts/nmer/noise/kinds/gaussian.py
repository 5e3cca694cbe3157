"""Gaussian noise (SPEC 2.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nmer.noise.registry import noise_kind


@noise_kind("gaussian")
def gaussian(shape: tuple[int, int], generator: np.random.Generator) -> NDArray[np.float32]:
    """Draw eps ~ N(0, 1), independent per element. shape: (frames, dim). Returns float32."""
    return generator.standard_normal(shape, dtype=np.float32)


def power() -> float:
    """Return the mean square of eps."""
    return 1.0


gaussian.power = power
