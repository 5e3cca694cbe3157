"""Always the median of the training scores: the constant prediction of the lowest MAE there."""

from __future__ import annotations

import numpy as np

from nmer.references.registry import Examples, Predictor, reference


@reference("median")
def median(train: Examples, _validation: list[Examples], _classes: int, /) -> Predictor:
    """The median of the training scores, for every utterance."""
    middle = np.median(train.labels)
    return lambda features: np.full(len(features), middle)
