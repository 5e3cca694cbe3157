"""Lost channels: a share of a modality's dimensions is zero throughout an utterance. Has no SNR."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nmer.noise.registry import noise_kind
from nmer.options import Share


@noise_kind("drop_channels", additive=False, level="share")
def drop_channels(
    values: NDArray[np.float32], generator: np.random.Generator, *, share: Share = 0.5
) -> NDArray[np.float32]:
    """Set each dimension to zero in all frames with probability ``share``, independently.

    values: (frames, dim) float32. Returns float32.
    """
    kept = generator.random((1, values.shape[1])) >= share
    return values * kept.astype(np.float32)
