"""Synthetic features that depend on an emotion, for the demo corpora. Not a model of real speech or faces.

An utterance has a hidden vector u = strength * prototype(class) + e, e ~ N(0, I), of ``FACTORS`` numbers; a frame is
x = (sqrt(SHARE) * u W + sqrt(1 - SHARE) * f) * scale, with f ~ N(0, I) per frame and W (FACTORS, dim) random, rows of
unit mean square. The class affects every frame, along directions that it shares with other variation, and noise on the
frames hides it gradually.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nmer import seeds

FACTORS = 8
SHARE = 0.15
"""Share of a frame's variance that is common to the utterance."""


class DemoSignal:
    """Features of one modality with unit variance per dimension (not counting the classes).

    names: names that seed the random numbers, e.g. ("demo", seed, dataset, modality).
    strength: length of a class prototype in units of the within-class deviation.
    """

    def __init__(self, names: tuple[str | int, ...], dim: int, classes: int, strength: float) -> None:
        self._names = names
        random = seeds.generator(*names, "directions")
        self._directions = random.standard_normal((FACTORS, dim)) / np.sqrt(FACTORS)
        prototypes = _orthogonal(random.standard_normal((classes, FACTORS)))
        self._prototypes = strength * prototypes

    def frames(self, utterance: str, label: int, count: int) -> NDArray[np.float64]:
        """Return (count, dim) frames of an utterance. They depend on its name, not on other utterances."""
        random = seeds.generator(*self._names, utterance)
        hidden = self._prototypes[label] + random.standard_normal(FACTORS)
        frames = random.standard_normal((count, self._directions.shape[1]))
        mixed: NDArray[np.float64] = np.sqrt(SHARE) * hidden @ self._directions + np.sqrt(1 - SHARE) * frames
        return mixed


def _orthogonal(vectors: np.ndarray) -> np.ndarray:
    """Make rows orthogonal and of unit length, so all pairs of classes have the same distance."""
    return np.linalg.qr(vectors.T)[0].T
