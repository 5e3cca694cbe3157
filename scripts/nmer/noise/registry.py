"""Noise kinds by name, and the power of their noise.

A kind is one file in ``kinds/`` (or a user's own) with one function. An additive kind draws the noise that the closed
form adds, at a level that is calibrated to a target SNR::

    @noise_kind("gaussian")
    def gaussian(shape, generator, **options) -> eps: ...

Any other kind takes the features of an utterance and gives back what stands in their place; it has no SNR::

    @noise_kind("drop_frames", additive=False)
    def drop_frames(values, generator, **options) -> values: ...

With ``standardised=True`` such a kind gets and returns standardised units where the modality is standardised
(SPEC 2.6, corruption space). Shapes are (frames, dim), arrays float32. Keyword-only arguments are the options.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from nmer.plugins import Declaration, Registry
from nmer.seeds import generator


class NoiseKind(Protocol):
    """The function of a kind. ``given``: the shape of eps, or the features of an utterance.

    ``power``, mean square of eps under the same options, is there only where an additive kind states it.
    """

    power: Callable[..., float]

    def __call__(
        self, given: tuple[int, int] | NDArray[np.float32], generator: np.random.Generator, /, **options: Any
    ) -> NDArray[np.float32]:
        """The noise, or what stands in the place of the features."""


noise_kinds: Registry[NoiseKind] = Registry("noise kind", "noise_kind", "nmer.noise.kinds")
# A function takes attributes at any time, which types cannot say: whatever is decorated counts as a NoiseKind.
noise_kind = cast(Callable[..., Callable[[Callable[..., NDArray[np.float32]]], NoiseKind]], noise_kinds.register)

POWER_SAMPLES = 1 << 20


def has_snr(declaration: Declaration) -> bool:
    """Whether a kind is additive, so that its level can be calibrated."""
    additive: bool = declaration.attributes.get("additive", True)
    return additive


def noise_power(kind: NoiseKind, options: dict[str, Any]) -> float:
    """Mean square of a kind's eps: its attribute ``power`` where it states one, else measured on a fixed draw."""
    if hasattr(kind, "power"):
        return kind.power(**options)
    eps = kind((POWER_SAMPLES, 1), generator("noise power"), **options)
    return float(np.mean(np.square(eps, dtype=np.float64)))
