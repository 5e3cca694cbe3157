"""Adding noise to features: the closed form, keyed per utterance (paper Eq. 3; SPEC 2.3, 2.6, 5.4)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from nmer.noise.schedule import LinearSchedule
from nmer.seeds import generator


@dataclass(frozen=True)
class CorruptionSettings:
    """What noisy embeddings depend on, besides features and calibration. file: of a user's noise kind."""

    dataset: str
    noise: str
    seed: int = 0
    file: str | None = None
    options: dict = field(default_factory=dict)


@dataclass(frozen=True)
class NoiseSource:
    """Where eps comes from: a kind with its options, and the names that key every draw.

    The key is (seed, dataset, utterance, modality, kind, draw) and nothing else, so an utterance's eps depends on
    no other utterance and is shared by all SNRs, conditions, folds, systems and repeats.
    """

    kind: Callable
    name: str
    dataset: str
    seed: int = 0
    options: dict = field(default_factory=dict)

    def eps(self, utterance: str, modality: str, shape: tuple[int, int], draw: int = 0) -> np.ndarray:
        """The noise of one utterance and modality: ``shape`` = (frames, dim), float32."""
        keyed = generator("noise", self.seed, self.dataset, utterance, modality, self.name, draw)
        return self.kind(shape, keyed, **self.options)


def add_noise(
    values: np.ndarray, eps: np.ndarray, alpha_bar: float, space: tuple[np.ndarray, np.ndarray] | None = None
) -> np.ndarray:
    """x_T = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) eps (paper Eq. 3).

    values, eps: (frames, dim) float32. space: per-dimension (mean, std) of a standardised modality, in whose units
    the noise acts (SPEC 2.6, corruption space); the result is in the features' own units either way.
    """
    signal, noise = np.float32(math.sqrt(alpha_bar)), np.float32(math.sqrt(1 - alpha_bar))
    if space is None:
        return signal * values + noise * eps
    mean, std = (np.asarray(part, np.float32) for part in space)
    return mean + signal * (values - mean) + noise * std * eps


def add_noise_iteratively(
    values: np.ndarray, steps: int, schedule: LinearSchedule, draw_eps: Callable[[tuple], np.ndarray]
) -> np.ndarray:
    """Algorithm 1 of the paper, step by step. For Gaussian noise equal in distribution to :func:`add_noise`; a test
    oracle and a demonstration, not used by the workflow (for impulse noise the distributions differ, SPEC 2.3)."""
    noisy = values
    for beta in schedule.betas(steps):
        noisy = math.sqrt(1 - beta) * noisy + math.sqrt(beta) * draw_eps(values.shape)
    return noisy
