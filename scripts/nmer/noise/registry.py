"""Noise kinds by name, and the power of their noise.

A kind is one file in ``kinds/`` (or a custom file) with one function. An additive kind draws the noise that the closed
form adds at a level calibrated to a target SNR::

    @noise_kind("gaussian")
    def gaussian(shape, generator, **options) -> eps: ...

Any other kind takes the features of an utterance and returns their replacement. It has no SNR::

    @noise_kind("drop_frames", additive=False)
    def drop_frames(values, generator, **options) -> values: ...

``level="share"`` names the option that is the level of such a kind, a rate that experiments can vary.
With ``standardised=True`` such a kind takes and returns standardised units where the modality is standardised
(SPEC 2.6, corruption space). Shapes are (frames, dim), arrays float32. Keyword-only arguments are the options.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from nmer.errors import ConfigError, nearest
from nmer.plugins import Declaration, Registry, report_failures
from nmer.seeds import generator


class NoiseKind(Protocol):
    """The function of a kind. ``shape_or_values``: the shape of eps, or the features of an utterance.

    ``power`` returns the mean square of eps for the same options. Only additive kinds can have it, and it is optional.
    """

    power: Callable[..., float]

    def __call__(
        self, shape_or_values: tuple[int, int] | NDArray[np.float32], generator: np.random.Generator, /, **options: Any
    ) -> NDArray[np.float32]:
        """Return the noise, or the replacement of the features."""


noise_kinds: Registry[NoiseKind] = Registry("noise kind", "noise_kind", "nmer.noise.kinds")
# Types cannot express that functions gain attributes later, so any decorated function counts as a NoiseKind.
noise_kind = cast(Callable[..., Callable[[Callable[..., NDArray[np.float32]]], NoiseKind]], noise_kinds.register)

POWER_SAMPLES = 1 << 20


def load_kind(name: str, file: str | None = None) -> NoiseKind:
    """Load a kind. Calls of a custom kind raise ConfigError that names its ``file`` if its code fails."""
    kind = noise_kinds.load(name, file)
    if file is None:
        return kind
    reporting = cast(NoiseKind, report_failures(kind, file, noise_kinds.sort))
    if hasattr(kind, "power"):
        reporting.power = report_failures(kind.power, file, noise_kinds.sort)
    return reporting


def has_snr(declaration: Declaration) -> bool:
    """Return whether a kind is additive, so that its level can be calibrated."""
    additive: bool = declaration.attributes.get("additive", True)
    return additive


def level_option(declaration: Declaration) -> str:
    """Return the option that is the level of a kind without an SNR, such as the share of lost frames; "" if none is.

    Raises ConfigError if the declaration names no option of the kind.
    """
    option: str = declaration.attributes.get("level", "")
    if option and option not in declaration.options:
        raise ConfigError(
            f"{declaration.file}: the level of '{declaration.name}' is '{option}', which is not one of its options. "
            f"{nearest(option, declaration.options)}"
        )
    return option


def noise_power(kind: NoiseKind, options: dict[str, Any]) -> float:
    """Return the mean square of a kind's eps: from its attribute ``power``, else measured on a fixed draw.

    Raises ConfigError if the draw is not valid noise.
    """
    if hasattr(kind, "power"):
        return kind.power(**options)
    shape = (POWER_SAMPLES, 1)
    eps = validate_noise(kind(shape, generator("noise power"), **options), shape, getattr(kind, "__name__", ""))
    return float(np.mean(np.square(eps, dtype=np.float64)))


def validate_noise(returned: object, shape: tuple[int, ...], name: str) -> NDArray[Any]:
    """Return the result of a kind as an array. A wrong shape would be broadcast over the features silently.

    shape: the expected shape. name: name of the kind. Raises ConfigError for another shape, values that are not real
    numbers, NaN and infinities.
    """
    try:
        array = np.asarray(returned)
    except (TypeError, ValueError):  # lists of different lengths
        array = np.empty((), object)
    if array.shape != shape or array.dtype.kind not in "biuf":
        raise ConfigError(
            f"Noise kind '{name}' returned {type(returned).__name__} {array.dtype} {array.shape} for {shape}. It must "
            "return numbers of that shape. Correct its file."
        )
    if not np.isfinite(array).all():
        raise ConfigError(f"Noise kind '{name}' returned NaN or infinities. Correct its file or its options.")
    return array
