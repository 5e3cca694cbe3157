"""Noise at a given SNR for features in memory, bit for bit equal to the workflow's noisy embeddings.

Names and settings alone determine every value, so the same call gives the same noise on any machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmer.errors import ConfigError, DataError
from nmer.finite import all_finite
from nmer.noise.calibration import calibrate_row, snr_db
from nmer.noise.corruption import NoiseSource, Space, add_noise
from nmer.noise.registry import noise_kinds, noise_power
from nmer.noise.schedule import Schedule


@dataclass(frozen=True)
class Corrupted:
    """Noisy features and their noise level.

    utterances: id -> (frames, dim) float32. variance: variance of the clean features, used for calibration.
    steps, alpha_bar: the level (None for a kind without an SNR; steps is also None where alpha_bar was solved exactly).
    attained_db: SNR at this level of noise with unit power. target_db: the target of attained_db (``match``).
    effective_db: SNR with the nominal power of the kind. measured_db: SNR with the power of the noise drawn, infinite
    if that power is 0.
    """

    utterances: dict[str, np.ndarray]
    variance: float
    steps: int | None = None
    alpha_bar: float | None = None
    attained_db: float | None = None
    target_db: float | None = None
    effective_db: float | None = None
    measured_db: float | None = None


def corrupt_features(
    utterances: Mapping[str, np.ndarray],
    kind: str = "gaussian",
    target_db: float | None = -10,
    *,
    dataset: str,
    modality: str,
    seed: int = 0,
    options: Mapping[str, object] | None = None,
    file: str | None = None,
    schedule: Schedule | None = None,
    mode: str = "integer_T",
    match: str = "nominal",
    standardise: bool = False,
    draw: int = 0,
) -> Corrupted:
    """Corrupt one modality of a corpus (paper Eq. 3 to 5; SPEC 2).

    utterances: id -> (frames, dim) of any real type; the ids 7 and "7" have the same noise. Pass all utterances of the
    modality: calibration uses the variance over all elements. kind, options, file: the noise kind, its options, the
    file of a custom kind.
    target_db: SNR in dB; ignored by kinds without one. dataset, modality, seed, draw: names that seed the noise, in
    addition to each id. schedule, mode, match: as in ``noise.calibration``. standardise: whether the noise acts in
    units of each dimension's standard deviation (SPEC 2.6, corruption space).
    Raises ConfigError for an unknown kind, an option that is unknown or out of bounds, noise without power, or a level
    out of reach; DataError for features that are no real numbers, are not finite or differ in width.
    """
    noise_kinds.declaration(kind, file).check_options(dict(options or {}), f"options of noise kind '{kind}'")
    source = NoiseSource.load(kind, dataset, seed, dict(options or {}), file)
    given = _arrays(utterances)
    names = {identifier: _name(identifier) for identifier in given}
    if not all(map(all_finite, given.values())):
        raise DataError(
            "Features contain NaN or infinities (the largest value of a float type counts as infinite). Replace them "
            "first; the workflow replaces them by 0."
        )
    clean = {identifier: np.asarray(values, np.float32) for identifier, values in given.items()}
    space, variance = _statistics(clean, standardise)
    first = next(iter(clean))
    source.check_repeats(clean[first], names[first], modality, space)
    if not source.additive:
        noisy = {
            identifier: source.corrupt(values, names[identifier], modality, space=space, draw=draw)
            for identifier, values in clean.items()
        }
        return Corrupted(noisy, variance)
    if target_db is None:
        raise ConfigError(f"Noise kind '{kind}' has an SNR: give its target in dB.")
    if not isinstance(target_db, int | float | np.number) or not math.isfinite(target_db):
        raise ConfigError(f"The target SNR must be a finite number of decibels; it is {target_db!r}.")
    nominal = noise_power(source.kind, source.options)
    if not 0 < nominal < math.inf:
        raise ConfigError(f"Noise kind '{kind}' with these options has no power, so no SNR. Change the options.")
    level, target = calibrate_row(target_db, variance, schedule or Schedule(), mode, nominal, match)
    noisy, power = {}, 0.0
    for identifier, values in clean.items():
        eps = source.eps(names[identifier], modality, values.shape, draw)
        noisy[identifier] = add_noise(values, eps, level.alpha_bar, space)
        power += float(np.square(eps, dtype=np.float64).sum())
    power /= sum(values.size for values in clean.values())
    measured = snr_db(level.alpha_bar, variance) - 10 * math.log10(power) if power else math.inf
    effective = level.attained_db - 10 * math.log10(nominal)
    return Corrupted(noisy, variance, level.steps, level.alpha_bar, level.attained_db, target, effective, measured)


def _arrays(utterances: Mapping[Any, Any]) -> dict[Any, np.ndarray]:
    """Return the utterances as arrays. Raises DataError for what is no mapping to arrays of real numbers."""
    if not hasattr(utterances, "items"):
        raise DataError(
            f"Utterances must be a mapping, id -> array (frames, dim); found {type(utterances).__name__}. For an array "
            "(utterances, frames, dim), give dict(enumerate(array))."
        )
    given = {}
    for identifier, values in utterances.items():
        if np.ma.is_masked(values):
            raise DataError(f"Utterance '{identifier}': has masked values. Remove or fill them.")
        try:
            given[identifier] = np.asarray(values)
        except (RuntimeError, TypeError, ValueError) as error:
            raise DataError(f"Utterance '{identifier}': cannot be read as an array ({error}).") from None
        if given[identifier].dtype.kind not in "fiub":
            found = given[identifier].dtype
            raise DataError(f"Utterance '{identifier}': {found} instead of real numbers. Convert the values.")
    return given


def _name(identifier: object) -> str:
    """Return the name by which the noise of an utterance is keyed: the workflow's ids are text."""
    if not isinstance(identifier, str | int | np.integer):
        raise DataError(f"Utterance {identifier!r}: an id must be text or a whole number. Convert it.")
    return str(identifier)


def _statistics(clean: Mapping[Any, np.ndarray], standardise: bool) -> tuple[Space | None, float]:
    """Return the corruption space, if ``standardise`` is set, and the variance over all elements in it."""
    expected = "Utterances must be arrays (frames, dim) with the same dim"
    if not any(values.size for values in clean.values()):
        raise DataError(f"{expected}; found no values.")
    first = next(iter(clean))
    for name, values in clean.items():
        if values.ndim != 2 or values.shape[1:] != clean[first].shape[1:]:
            beside = f", '{first}' is {clean[first].shape}" if name != first else ""
            raise DataError(f"{expected}; '{name}' is {values.shape}{beside}.")
    frames = np.concatenate(list(clean.values())).astype(np.float64)
    if not standardise:
        return None, float(frames.var())
    mean, deviation = frames.mean(axis=0), frames.std(axis=0)
    std = np.where(deviation > 0, deviation, 1.0)
    return (mean, std), float(((frames - mean) / std).var())
