"""Always predict the median of the training scores, the constant with the lowest training MAE."""

from __future__ import annotations

import numpy as np

from nmer.references.registry import Examples, Predictor, reference


@reference("median")
def median(train: Examples, _validation: list[Examples], _classes: int, /) -> Predictor:
    """Predict the median of the training scores for every utterance."""
    middle = np.median(train.labels)
    return lambda features: np.full(len(features), middle)
