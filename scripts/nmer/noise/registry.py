"""Noise kinds by name, and the power of their noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nmer.plugins import Registry
from nmer.seeds import generator

noise_kinds = Registry("noise kind", "noise_kind", "nmer.noise.kinds")
noise_kind = noise_kinds.register

POWER_SAMPLES = 1 << 20


def noise_power(kind: Callable, options: dict) -> float:
    """Mean square of a kind's eps: its attribute ``power`` where it states one, else measured on a fixed draw."""
    if hasattr(kind, "power"):
        return kind.power(**options)
    eps = kind((POWER_SAMPLES, 1), generator("noise power"), **options)
    return float(np.mean(np.square(eps, dtype=np.float64)))
