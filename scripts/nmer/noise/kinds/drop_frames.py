"""Lost frames: a share of an utterance's frames is zero in all dimensions. Has no SNR."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nmer.noise.registry import noise_kind


@noise_kind("drop_frames", additive=False, level="share", minimum={"share": 0.0}, maximum={"share": 1.0})
def drop_frames(
    values: NDArray[np.float32], generator: np.random.Generator, *, share: float = 0.5
) -> NDArray[np.float32]:
    """Set each frame to zero with probability ``share``, independently.

    values: (frames, dim) float32. Returns float32.
    """
    kept = generator.random((len(values), 1)) >= share
    return values * kept.astype(np.float32)
