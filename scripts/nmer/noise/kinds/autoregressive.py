"""Noise correlated in time: a first-order autoregressive process, AR(1), in every dimension.

Disturbances of sensors and rooms affect neighbouring frames alike. A mean over time removes independent noise, but not
noise correlated in time.
"""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from nmer.noise.registry import noise_kind
from nmer.options import Bounds


@noise_kind("autoregressive")
def autoregressive(
    shape: tuple[int, int], generator: np.random.Generator, *, correlation: Annotated[float, Bounds(0.0, 0.999)] = 0.9
) -> NDArray[np.float32]:
    """eps_t = correlation * eps_(t-1) + sqrt(1 - correlation^2) * n_t, n_t ~ N(0, 1), stationary from the first frame.

    Every element has mean 0 and variance 1 for any correlation.
    shape: (frames, dim). Returns float32.
    """
    innovations = generator.standard_normal(shape)
    innovations[1:] *= math.sqrt(1 - correlation**2)
    eps: NDArray[np.float64] = lfilter([1.0], [1.0, -correlation], innovations, axis=0)
    return eps.astype(np.float32)


def power(*, correlation: float = 0.9) -> float:
    """Return the mean square of eps."""
    return 1.0


autoregressive.power = power
