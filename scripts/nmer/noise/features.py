"""Noise at a given SNR for features in memory, without the workflow: what the workflow's cache holds, bit for bit.

Everything that decides about a value is a name or a setting, so the same call gives the same noise anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nmer.errors import ConfigError, DataError
from nmer.finite import all_finite
from nmer.noise.calibration import calibrate_row, snr_db
from nmer.noise.corruption import NoiseSource, Space, add_noise
from nmer.noise.registry import noise_kinds, noise_power
from nmer.noise.schedule import Schedule


@dataclass(frozen=True)
class Corrupted:
    """Noisy features and how they came about.

    utterances: id -> (frames, dim) float32. variance: of the clean features, the one that the level is calibrated with.
    steps, alpha_bar: the level (None for a kind without an SNR; steps also where alpha_bar was solved for exactly).
    attained_db: SNR of noise of unit power at this level; target_db: what that should be (``match``); effective_db:
    with the kind's own power; measured_db: with the power that this noise happened to have, infinite if it had none.
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

    utterances: id -> (frames, dim) of any real type, all of the modality, since the level is calibrated with the
    variance over all of their elements. kind, options, file: the noise kind, its options, a user's own file.
    target_db: SNR in dB; ignored by kinds without one. dataset, modality, seed, draw: names that key the noise besides
    each id. schedule, mode, match: as in ``noise.calibration``. standardise: whether the noise acts in units of each
    dimension's spread (SPEC 2.6, corruption space).
    Raises ConfigError for an unknown kind, an option that is unknown or out of its bounds, noise without power and a
    level out of reach, DataError for features that are not finite or differ in width.
    """
    noise_kinds.declaration(kind, file).check_options(dict(options or {}), f"options of noise kind '{kind}'")
    source = NoiseSource.load(kind, dataset, seed, dict(options or {}), file)
    clean = {identifier: np.asarray(values, np.float32) for identifier, values in utterances.items()}
    space, variance = _statistics(clean, standardise)
    first = next(iter(clean))
    source.check_repeats(clean[first], first, modality, space)
    if not source.additive:
        noisy = {name: source.corrupt(values, name, modality, space=space, draw=draw) for name, values in clean.items()}
        return Corrupted(noisy, variance)
    if target_db is None:
        raise ConfigError(f"Noise kind '{kind}' has an SNR: give its target in dB.")
    nominal = noise_power(source.kind, source.options)
    if not 0 < nominal < math.inf:
        raise ConfigError(f"Noise kind '{kind}' with these options has no power, so it has no SNR. Correct them.")
    level, target = calibrate_row(target_db, variance, schedule or Schedule(), mode, nominal, match)
    noisy, power = {}, 0.0
    for name, values in clean.items():
        eps = source.eps(name, modality, values.shape, draw)
        noisy[name] = add_noise(values, eps, level.alpha_bar, space)
        power += float(np.square(eps, dtype=np.float64).sum())
    power /= sum(values.size for values in clean.values())
    measured = snr_db(level.alpha_bar, variance) - 10 * math.log10(power) if power else math.inf
    effective = level.attained_db - 10 * math.log10(nominal)
    return Corrupted(noisy, variance, level.steps, level.alpha_bar, level.attained_db, target, effective, measured)


def _statistics(clean: Mapping[str, np.ndarray], standardise: bool) -> tuple[Space | None, float]:
    """The corruption space, if asked for, and the variance over all elements in it."""
    widths = {values.shape[1:] for values in clean.values()}
    if len(widths) != 1 or any(values.ndim != 2 for values in clean.values()):
        raise DataError(f"Utterances must be arrays (frames, dim) of one width; found {sorted(map(str, widths))}.")
    if not all(map(all_finite, clean.values())):
        raise DataError(
            "Features hold NaN or infinities (the largest value of a float type counts as one). Replace them first, as "
            "the workflow does (by 0)."
        )
    frames = np.concatenate(list(clean.values())).astype(np.float64)
    if not standardise:
        return None, float(frames.var())
    mean, deviation = frames.mean(axis=0), frames.std(axis=0)
    std = np.where(deviation > 0, deviation, 1.0)
    return (mean, std), float(((frames - mean) / std).var())
