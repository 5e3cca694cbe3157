"""Noise in bursts: some stretches of an utterance are noisy, the frames between them get no noise.

A door, a cough or a hand before the camera disturbs all dimensions at once, for a while. Independent noise never does.
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
    """eps ~ N(0, 1) within bursts, 0 between them.

    The utterance is cut into stretches of ``length`` frames, the first of them shorter by chance; each is a burst with
    probability ``share``. shape: (frames, dim). Returns float32.
    """
    stretch = (np.arange(shape[0]) + generator.integers(length)) // length
    noisy = generator.random(stretch[-1] + 1) < share
    return generator.standard_normal(shape, dtype=np.float32) * noisy[stretch, None]


def power(*, share: float = 0.3, length: int = 5) -> float:
    """Mean square of eps: the share of frames that are noisy, however long the bursts."""
    return share


bursts.power = power
