"""Noise in bursts: some stretches of an utterance are noisy, the frames between them have no noise.

A door, a cough or a hand in front of the camera disturbs all dimensions at once, for a while. Independent noise
does not.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np

from nmer.noise.registry import noise_kind
from nmer.options import Bounds, Count


@noise_kind("bursts")
def bursts(
    shape: tuple[int, int],
    generator: np.random.Generator,
    *,
    share: Annotated[float, Bounds(0.01, 1.0)] = 0.3,
    length: Count = 5,
) -> np.ndarray:
    """Draw eps ~ N(0, 1) within bursts, 0 between them.

    The utterance is divided into stretches of ``length`` frames; the first may be shorter. Each is a burst with
    probability ``share``. shape: (frames, dim). Returns float32.
    """
    stretch = (np.arange(shape[0]) + generator.integers(length)) // length
    noisy = generator.random(stretch[-1] + 1) < share
    return generator.standard_normal(shape, dtype=np.float32) * noisy[stretch, None]


def power(*, share: float = 0.3, length: int = 5) -> float:
    """Return the mean square of eps: the share of noisy frames, for any length of the bursts."""
    return share


bursts.power = power
