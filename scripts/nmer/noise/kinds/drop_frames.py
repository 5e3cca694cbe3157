"""Lost frames: a share of an utterance's frames is zero in all dimensions. Has no SNR."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nmer.noise.registry import noise_kind
from nmer.options import Share


@noise_kind("drop_frames", additive=False, level="share")
def drop_frames(
    values: NDArray[np.float32], generator: np.random.Generator, *, share: Share = 0.5
) -> NDArray[np.float32]:
    """Set each frame to zero with probability ``share``, independently.

    values: (frames, dim) float32. Returns float32.
    """
    kept = generator.random((len(values), 1)) >= share
    return values * kept.astype(np.float32)
