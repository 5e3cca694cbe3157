"""Uniform noise of unit power (the example of another kind in SPEC 2.8)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from nmer.noise.registry import noise_kind

WIDTH = math.sqrt(3)


@noise_kind("uniform")
def uniform(shape: tuple[int, int], generator: np.random.Generator) -> NDArray[np.float32]:
    """Draw eps uniformly between -sqrt(3) and sqrt(3), independent per element.

    shape: (frames, dim). Returns float32.
    """
    return (2 * generator.random(shape, dtype=np.float32) - 1) * np.float32(WIDTH)


def power() -> float:
    """Return the mean square of eps."""
    return 1.0


uniform.power = power
