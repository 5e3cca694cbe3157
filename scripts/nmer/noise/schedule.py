"""Noise schedules: beta_1..beta_T and the cumulative product alpha_bar_T (paper Eq. 1 and 2; SPEC 2.1, 2.8)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nmer.errors import ConfigError, nearest

LARGEST_BETA = 0.999
"""Upper bound of the betas of the cosine schedule, whose last beta would otherwise be 1."""


def _linear(steps: int, start: float, end: float) -> np.ndarray:
    return np.linspace(start, end, steps)


def _scaled_linear(steps: int, start: float, end: float) -> np.ndarray:
    return np.square(np.linspace(np.sqrt(start), np.sqrt(end), steps))


def _squared_cosine(steps: int, _start: float, _end: float) -> np.ndarray:
    kept = np.square(np.cos((np.linspace(0, 1, steps + 1) + 0.008) / 1.008 * np.pi / 2))
    return np.minimum(1 - kept[1:] / kept[:-1], LARGEST_BETA)


def _sigmoid(steps: int, start: float, end: float) -> np.ndarray:
    return start + (end - start) / (1 + np.exp(-np.linspace(-6, 6, steps)))


SHAPES: dict[str, Callable[[int, float, float], np.ndarray]] = {
    "linear": _linear,
    "scaled_linear": _scaled_linear,
    "squaredcos_cap_v2": _squared_cosine,
    "sigmoid": _sigmoid,
}
"""Shapes, named as in the official code and in the library diffusers."""


@dataclass(frozen=True)
class Schedule:
    """The betas of a chain of T steps.

    beta_start, beta_end: first and last beta. shape: one of ``SHAPES``; ``linear`` is the shape in the paper
    (Eq. 1), ``squaredcos_cap_v2`` ignores beta_start and beta_end. chain: with None the betas are spaced anew for every
    T, so the last one is always ``beta_end`` (SPEC 2.1); a number fixes one chain of that length, of which the first T
    betas are applied.
    Raises ConfigError for an unknown shape, a beta that is not between 0 and 1, betas that decrease, or a chain that is
    not a positive whole number.
    """

    beta_start: float = 0.001
    beta_end: float = 0.1
    shape: str = "linear"
    chain: int | None = None

    def __post_init__(self) -> None:
        """Check the values, which may come from a command line."""
        if self.shape not in SHAPES:
            raise ConfigError(f"noise.schedule: unknown schedule '{self.shape}'. {nearest(str(self.shape), SHAPES)}")
        for name, beta in (("beta_start", self.beta_start), ("beta_end", self.beta_end)):
            if isinstance(beta, bool) or not isinstance(beta, int | float) or not 0 < beta < 1:
                raise ConfigError(f"noise.{name}: {beta!r} is not a number between 0 and 1.")
        if self.beta_start > self.beta_end:
            raise ConfigError("noise.beta_start is larger than noise.beta_end. The betas of a schedule must increase.")
        if self.chain is not None and (type(self.chain) is not int or self.chain < 1):
            raise ConfigError(f"noise.fixed_chain: {self.chain!r} is not a whole number of at least 1.")

    def betas(self, steps: int) -> np.ndarray:
        """Return the betas of a chain of ``steps`` steps: (steps,) float64."""
        return SHAPES[self.shape](self.chain or steps, self.beta_start, self.beta_end)[:steps]

    def alpha_bar(self, steps: int) -> float:
        """Return the product of 1 - beta over the chain (paper Eq. 2), summed as logarithms for precision."""
        return float(np.exp(np.log1p(-self.betas(steps)).sum()))
