"""The registry and interface of reference rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nmer.names import CLASSES, SCORE
from nmer.plugins import Registry


@dataclass(frozen=True)
class Examples:
    """Utterances as vectors. features: (n, width), each modality's mean over its frames. labels: (n,) class numbers,
    or scores."""

    features: np.ndarray
    labels: np.ndarray


Predictor = Callable[[np.ndarray], np.ndarray]
"""Function from features (n, width) to class probabilities (n, classes) or scores (n,)."""


class Reference(Protocol):
    """Train a reference row deterministically."""

    def __call__(self, train: Examples, validation: list[Examples], classes: int, /) -> Predictor:
        """Return a predictor. validation: examples of each condition, for choices. classes: number of classes, 0 if the
        target is a score."""


references: Registry[Reference] = Registry("reference", "reference", "nmer.references")
reference = references.register

MAJORITY, MEDIAN_SCORE = "majority", "median"
CONSTANT = (MAJORITY, MEDIAN_SCORE)
"""The reference rows with a constant prediction."""

REFERENCE_TARGETS = {MAJORITY: CLASSES, "logistic_regression": CLASSES, MEDIAN_SCORE: SCORE, "ridge": SCORE}
"""Every reference row, in the order of tables -> the target that it predicts."""

REFERENCES = tuple(REFERENCE_TARGETS)
