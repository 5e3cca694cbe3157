"""The noise schedule: beta_1..beta_T and the cumulative product alpha_bar_T (paper Eq. 1 and 2; SPEC 2.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LinearSchedule:
    """T equally spaced betas from ``beta_start`` to ``beta_end`` inclusive, laid anew for every T (paper Eq. 1).

    With T = 1 the single beta is ``beta_start``.
    """

    beta_start: float = 0.001
    beta_end: float = 0.1

    def betas(self, steps: int) -> np.ndarray:
        """The betas of a chain of ``steps`` steps: (steps,) float64."""
        return np.linspace(self.beta_start, self.beta_end, steps)

    def alpha_bar(self, steps: int) -> float:
        """Product of 1 - beta over the chain (paper Eq. 2), summed as logarithms to keep its precision."""
        return float(np.exp(np.log1p(-self.betas(steps)).sum()))
