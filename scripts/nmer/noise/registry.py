"""Noise kinds by name, and the power of their noise.

A kind is one file in ``kinds/`` (or a user's own) with one function. An additive kind draws the noise that the closed
form adds, at a level that is calibrated to a target SNR::

    @noise_kind("gaussian")
    def gaussian(shape, generator, **options) -> eps: ...

Any other kind takes the features of an utterance and gives back what stands in their place; it has no SNR::

    @noise_kind("drop_frames", additive=False)
    def drop_frames(values, generator, **options) -> values: ...

``level="share"`` names the option that is the level of such a kind, a rate over which experiments can run it.
With ``standardised=True`` such a kind gets and returns standardised units where the modality is standardised
(SPEC 2.6, corruption space). Shapes are (frames, dim), arrays float32. Keyword-only arguments are the options.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from nmer.errors import ConfigError, nearest
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


def level_option(declaration: Declaration) -> str:
    """The option that is the level of a kind without an SNR, such as the share of frames lost; empty if none is.

    Raises ConfigError if the declaration names no option of the kind.
    """
    option: str = declaration.attributes.get("level", "")
    if option and option not in declaration.options:
        raise ConfigError(
            f"{declaration.file}: the level of '{declaration.name}' is '{option}', which is none of its options. "
            f"{nearest(option, declaration.options)}"
        )
    return option


def noise_power(kind: NoiseKind, options: dict[str, Any]) -> float:
    """Mean square of a kind's eps: its attribute ``power`` where it states one, else measured on a fixed draw.

    Raises ConfigError if the draw is no noise.
    """
    if hasattr(kind, "power"):
        return kind.power(**options)
    shape = (POWER_SAMPLES, 1)
    eps = checked_noise(kind(shape, generator("noise power"), **options), shape, getattr(kind, "__name__", ""))
    return float(np.mean(np.square(eps, dtype=np.float64)))


def checked_noise(returned: object, shape: tuple[int, ...], name: str) -> NDArray[Any]:
    """What a kind returned, as an array. Another shape would be spread over the features without notice.

    shape: the one asked for; name: the kind's. Raises ConfigError for another shape, what is no real number, NaN and
    infinities.
    """
    try:
        array = np.asarray(returned)
    except (TypeError, ValueError):  # lists of several lengths
        array = np.empty((), object)
    if array.shape != shape or array.dtype.kind not in "biuf":
        raise ConfigError(
            f"Noise kind '{name}' returned {type(returned).__name__} {array.dtype} {array.shape} for {shape}. It must "
            "return numbers of that shape. Correct its file."
        )
    if not np.isfinite(array).all():
        raise ConfigError(f"Noise kind '{name}' returned NaN or infinities. Correct its file or its options.")
    return array
