"""Impulse noise: rare impulses of +1 or -1, 0 elsewhere (SPEC 2.4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nmer.noise.registry import noise_kind
from nmer.options import Share


@noise_kind("impulse")
def impulse(shape: tuple[int, int], generator: np.random.Generator, *, frequency: Share = 0.3) -> NDArray[np.float32]:
    """Draw eps: +1 or -1, each with probability frequency / 2, else 0, independent per element.

    shape: (frames, dim). frequency: the paper's appearance frequency. Returns float32.
    """
    draw = generator.random(shape, dtype=np.float32)
    return (draw < frequency).astype(np.float32) - 2 * (draw < frequency / 2).astype(np.float32)


def power(*, frequency: float = 0.3) -> float:
    """Return the mean square of eps: at frequency 0.3 the noise is 5.23 dB weaker than its nominal SNR."""
    return frequency


impulse.power = power
