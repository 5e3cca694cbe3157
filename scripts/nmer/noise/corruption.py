"""Corrupting features: the closed form, and kinds beside it, keyed per utterance (paper Eq. 3; SPEC 2.3, 2.6, 5.4)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmer.errors import ConfigError
from nmer.noise.registry import NoiseKind, checked_noise, has_snr, noise_kinds
from nmer.noise.schedule import Schedule
from nmer.seeds import generator

Space = tuple[np.ndarray, np.ndarray]
"""Per-dimension mean and standard deviation of a standardised modality, each (dim,): the units in which its noise acts
(SPEC 2.6, corruption space)."""


@dataclass(frozen=True)
class CorruptionSettings:
    """What noisy embeddings depend on, besides features and calibration.

    noise: its name in the configuration; kind: the noise kind behind that name, None = the same. file: of a user's
    kind. draws: how many noisy copies are made, of which training picks one at random (SPEC 2.7).
    """

    dataset: str
    noise: str
    seed: int = 0
    kind: str | None = None
    file: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    draws: int = 1


@dataclass(frozen=True)
class NoiseSource:
    """A noise kind with its options, and the names that key every draw.

    The key is (seed, dataset, utterance, modality, kind, draw) and nothing else, so an utterance's noise depends on
    no other utterance and is shared by all SNRs, conditions, folds, systems and repeats.

    kind: its function, see :mod:`nmer.noise.registry`; name: the kind's. additive: whether it draws eps, or takes the
    features and gives back what stands in their place. standardised: whether such a kind works in the corruption space.
    """

    kind: NoiseKind
    name: str
    dataset: str
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    additive: bool = True
    standardised: bool = False

    @classmethod
    def load(
        cls, name: str, dataset: str, seed: int = 0, options: dict[str, Any] | None = None, file: str | None = None
    ) -> NoiseSource:
        """A shipped kind, or one from a user's ``file``. Raises ConfigError if there is none of that name."""
        declaration = noise_kinds.declaration(name, file)
        standardised = declaration.attributes.get("standardised", False)
        return cls(noise_kinds.load(name, file), name, dataset, seed, options or {}, has_snr(declaration), standardised)

    @classmethod
    def of(cls, settings: CorruptionSettings) -> NoiseSource:
        """What noisy embeddings of these settings are made with."""
        kind = settings.kind or settings.noise
        return cls.load(kind, settings.dataset, settings.seed, settings.options, settings.file)

    def eps(self, utterance: str, modality: str, shape: tuple[int, int], draw: int | str = 0) -> NDArray[np.float32]:
        """The noise of one utterance and modality, of an additive kind: ``shape`` = (frames, dim), float32.

        Raises ConfigError if the kind returns another shape, NaN or infinities.
        """
        return self._checked(self.kind(shape, self._generator(utterance, modality, draw), **self.options), shape)

    def corrupt(
        self,
        values: NDArray[np.float32],
        utterance: str,
        modality: str,
        alpha_bar: float | None = None,
        space: Space | None = None,
        draw: int | str = 0,
    ) -> NDArray[np.float32]:
        """One utterance corrupted, float32 in the features' own units.

        values: (frames, dim) float32. alpha_bar: the calibrated level; a kind that is not additive has none.
        space: of a standardised modality. draw: number or name of the draw, 0 for validation and test.
        """
        if self.additive:
            if alpha_bar is None:
                raise ValueError(f"Noise of kind '{self.name}' is added at a level: give alpha_bar.")
            return add_noise(values, self.eps(utterance, modality, values.shape, draw), alpha_bar, space)
        keyed = self._generator(utterance, modality, draw)
        values = values.copy()  # a kind may write into what it is given
        if not self.standardised or space is None:
            return self._checked(self.kind(values, keyed, **self.options), values.shape)
        mean, std = (np.asarray(part, np.float32) for part in space)
        return mean + std * self._checked(self.kind((values - mean) / std, keyed, **self.options), values.shape)

    def check_repeats(
        self, values: NDArray[np.float32], utterance: str, modality: str, space: Space | None = None
    ) -> None:
        """Corrupt an utterance twice and compare: the same name must draw the same noise, in every run.

        values: (frames, dim) float32. Raises ConfigError for a kind that draws from elsewhere than its generator.
        """
        first, second = (
            self.eps(utterance, modality, values.shape)
            if self.additive
            else self.corrupt(values, utterance, modality, space=space)
            for _ in range(2)
        )
        if not np.array_equal(first, second):
            raise ConfigError(
                f"Noise kind '{self.name}' returned other noise when it was called again with the same generator. "
                "Take random numbers from the generator only, and keep nothing between calls."
            )

    def _checked(self, returned: object, shape: tuple[int, ...]) -> NDArray[np.float32]:
        return checked_noise(returned, shape, self.name).astype(np.float32, copy=False)

    def _generator(self, utterance: str, modality: str, draw: int | str) -> np.random.Generator:
        return generator("noise", self.seed, self.dataset, utterance, modality, self.name, draw)


def add_noise(
    values: NDArray[np.float32], eps: NDArray[np.float32], alpha_bar: float, space: Space | None = None
) -> NDArray[np.float32]:
    """x_T = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) eps (paper Eq. 3).

    values, eps: (frames, dim) float32. space: per-dimension (mean, std) of a standardised modality, in whose units
    the noise acts (SPEC 2.6, corruption space); the result is in the features' own units either way.
    """
    signal, noise = np.float32(math.sqrt(alpha_bar)), np.float32(math.sqrt(1 - alpha_bar))
    if space is None:
        return signal * values + noise * eps
    mean, std = (np.asarray(part, np.float32) for part in space)
    noisy: NDArray[np.float32] = mean + signal * (values - mean) + noise * std * eps
    return noisy


def add_noise_iteratively(
    values: NDArray[np.float32],
    steps: int,
    schedule: Schedule,
    draw_eps: Callable[[tuple[int, ...]], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Algorithm 1 of the paper, step by step. For Gaussian noise equal in distribution to :func:`add_noise`; a test
    oracle and a demonstration, not used by the workflow (for impulse noise the distributions differ, SPEC 2.3)."""
    noisy: NDArray[np.float32] = values
    for beta in schedule.betas(steps):
        noisy = math.sqrt(1 - beta) * noisy + math.sqrt(beta) * draw_eps(values.shape)
    return noisy
