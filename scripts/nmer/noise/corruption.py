"""Corruption of features, seeded per utterance: the closed form, and kinds that replace features (paper Eq. 3; SPEC
2.3, 2.6, 5.4)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmer.errors import ConfigError
from nmer.noise.registry import NoiseKind, has_snr, load_kind, noise_kinds, validate_noise
from nmer.noise.schedule import Schedule
from nmer.seeds import generator

Space = tuple[np.ndarray, np.ndarray]
"""Per-dimension mean and standard deviation of a standardised modality, each (dim,): the units in which its noise acts
(SPEC 2.6, corruption space)."""


@dataclass(frozen=True)
class CorruptionSettings:
    """Settings of noisy embeddings, in addition to features and calibration.

    noise: the name in the configuration. kind: the noise kind behind that name, None if it has the same name. file:
    the file of a custom kind. draws: number of noisy copies; training picks one at random (SPEC 2.7).
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
    """A noise kind with its options and the names that seed every draw.

    Only (seed, dataset, utterance, modality, kind, draw) seed the noise. It is therefore independent of other
    utterances, and the same for all SNRs, conditions, folds, systems and repeats.

    kind: the function, see :mod:`nmer.noise.registry`. name: name of the kind. additive: whether the kind draws eps;
    any other kind replaces the features. standardised: whether such a kind works in the corruption space.
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
        """Load a built-in kind, or a custom one from ``file``. Raises ConfigError for an unknown name."""
        declaration = noise_kinds.declaration(name, file)
        standardised = declaration.attributes.get("standardised", False)
        return cls(load_kind(name, file), name, dataset, seed, options or {}, has_snr(declaration), standardised)

    @classmethod
    def from_settings(cls, settings: CorruptionSettings) -> NoiseSource:
        """Load the kind that these settings name. Raises ConfigError for an unknown name."""
        kind = settings.kind or settings.noise
        return cls.load(kind, settings.dataset, settings.seed, settings.options, settings.file)

    def eps(self, utterance: str, modality: str, shape: tuple[int, int], draw: int | str = 0) -> NDArray[np.float32]:
        """Draw the noise of one utterance and modality, for an additive kind: ``shape`` = (frames, dim), float32.

        Raises ConfigError if the kind returns another shape, NaN or infinities.
        """
        return self._validated(self.kind(shape, self._generator(utterance, modality, draw), **self.options), shape)

    def corrupt(
        self,
        values: NDArray[np.float32],
        utterance: str,
        modality: str,
        alpha_bar: float | None = None,
        space: Space | None = None,
        draw: int | str = 0,
    ) -> NDArray[np.float32]:
        """Corrupt one utterance. Returns float32 in the units of the features.

        values: (frames, dim) float32. alpha_bar: the calibrated level of an additive kind. space: the corruption space
        of a standardised modality. draw: number or name of the draw, 0 for validation and test.
        """
        if self.additive:
            if alpha_bar is None:
                raise ValueError(f"Noise kind '{self.name}' is additive: give alpha_bar.")
            return add_noise(values, self.eps(utterance, modality, values.shape, draw), alpha_bar, space)
        seeded = self._generator(utterance, modality, draw)
        values = values.copy()  # a kind may write into its argument
        if not self.standardised or space is None:
            return self._validated(self.kind(values, seeded, **self.options), values.shape)
        mean, std = (np.asarray(part, np.float32) for part in space)
        return mean + std * self._validated(self.kind((values - mean) / std, seeded, **self.options), values.shape)

    def check_repeats(
        self, values: NDArray[np.float32], utterance: str, modality: str, space: Space | None = None
    ) -> None:
        """Corrupt an utterance twice and check that the noise is the same.

        values: (frames, dim) float32. Raises ConfigError for a kind that uses random numbers of another generator.
        """
        first, second = (
            self.eps(utterance, modality, values.shape)
            if self.additive
            else self.corrupt(values, utterance, modality, space=space)
            for _ in range(2)
        )
        if not np.array_equal(first, second):
            raise ConfigError(
                f"Noise kind '{self.name}' returned different noise when called again with the same generator. "
                "Take random numbers from the generator only, and keep no state between calls."
            )

    def _validated(self, returned: object, shape: tuple[int, ...]) -> NDArray[np.float32]:
        return validate_noise(returned, shape, self.name).astype(np.float32, copy=False)

    def _generator(self, utterance: str, modality: str, draw: int | str) -> np.random.Generator:
        return generator("noise", self.seed, self.dataset, utterance, modality, self.name, draw)


def add_noise(
    values: NDArray[np.float32], eps: NDArray[np.float32], alpha_bar: float, space: Space | None = None
) -> NDArray[np.float32]:
    """Return x_T = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) eps (paper Eq. 3).

    values, eps: (frames, dim) float32. space: per-dimension (mean, std) of a standardised modality; the noise acts in
    these units (SPEC 2.6, corruption space). The result is in the units of ``values`` either way.
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
    """Add noise step by step (paper Algorithm 1).

    For Gaussian noise the result equals :func:`add_noise` in distribution; for impulse noise it does not (SPEC 2.3). A
    test oracle and a demonstration, not used by the workflow.
    """
    noisy: NDArray[np.float32] = values
    for beta in schedule.betas(steps):
        noisy = math.sqrt(1 - beta) * noisy + math.sqrt(beta) * draw_eps(values.shape)
    return noisy
