"""What there is to know of reference rows without importing one: their registry and interface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nmer.plugins import Registry


@dataclass(frozen=True)
class Examples:
    """Utterances as vectors. features: (n, width), each modality's mean over its frames. labels: (n,) class numbers."""

    features: np.ndarray
    labels: np.ndarray


Classifier = Callable[[np.ndarray], np.ndarray]
"""From features (n, width) to class probabilities (n, classes)."""


class Reference(Protocol):
    """Trains a reference row; draws nothing at random, so that one training is all there is."""

    def __call__(self, train: Examples, validation: list[Examples], classes: int, /) -> Classifier:
        """A classifier from training examples, and from validation examples by condition for choices."""


references: Registry[Reference] = Registry("reference", "reference", "nmer.references")
reference = references.register

MAJORITY = "majority"
REFERENCES = (MAJORITY, "logistic_regression")
"""Every reference row, in the order of tables."""
