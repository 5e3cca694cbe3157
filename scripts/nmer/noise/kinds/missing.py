"""A missing modality as in MMIN: the input of the model is zero after normalisation. Has no SNR.

Differs from ``zero`` for a standardised modality: MMIN multiplies the normalised features by 0, so the features before
normalisation are equal to their mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nmer.noise.registry import noise_kind
from nmer.options import Share


@noise_kind("missing", additive=False, standardised=True, level="rate")
def missing(values: NDArray[np.float32], generator: np.random.Generator, *, rate: Share = 1.0) -> NDArray[np.float32]:
    """Return zeros in standardised units with probability ``rate``, else the features unchanged.

    A modality of an utterance that is missing at one rate is missing at every higher rate. values: (frames, dim)
    float32. Returns float32 of the same shape.
    """
    return np.zeros_like(values) if generator.random() < rate else values
