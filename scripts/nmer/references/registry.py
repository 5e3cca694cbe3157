"""What there is to know of reference rows without importing one: their registry and interface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nmer.metrics import CLASSES, SCORE
from nmer.plugins import Registry


@dataclass(frozen=True)
class Examples:
    """Utterances as vectors. features: (n, width), each modality's mean over its frames. labels: (n,) class numbers,
    or scores."""

    features: np.ndarray
    labels: np.ndarray


Predictor = Callable[[np.ndarray], np.ndarray]
"""From features (n, width) to class probabilities (n, classes), or to scores (n,)."""


class Reference(Protocol):
    """Trains a reference row; draws nothing at random, so that one training is all there is."""

    def __call__(self, train: Examples, validation: list[Examples], classes: int, /) -> Predictor:
        """A predictor from training examples, and from validation examples by condition for choices. classes: their
        number, 0 where the target is a score."""


references: Registry[Reference] = Registry("reference", "reference", "nmer.references")
reference = references.register

MAJORITY, MEDIAN_SCORE = "majority", "median"
CONSTANT = (MAJORITY, MEDIAN_SCORE)
"""The reference rows whose prediction is always the same: what others are held against."""

REFERENCE_TARGETS = {MAJORITY: CLASSES, "logistic_regression": CLASSES, MEDIAN_SCORE: SCORE, "ridge": SCORE}
"""Every reference row, in the order of tables -> the target that it predicts."""

REFERENCES = tuple(REFERENCE_TARGETS)
