"""Calibration of one modality: from a target SNR in dB to T, or to the exact alpha_bar (SPEC 2.5, 2.6)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from nmer.errors import ConfigError
from nmer.noise.schedule import Schedule

MODES = ("integer_T", "exact_abar")
MATCHES = ("nominal", "effective")
LONGEST_CHAIN = 5000
EXACT_TARGET_DB = 0
"""The only target for which alpha_bar is solved exactly where no integer T comes close: small variances miss it
(SPEC 2.6)."""

TOLERANCE_DB = 1.0
"""An attained SNR further than this from its target is reported as a warning."""


@dataclass(frozen=True)
class CalibrationSettings:
    """Settings of a calibration.

    noise, kind, file: as in ``CorruptionSettings``. snr_db: the target, None for a kind without an SNR. options: the
    kind's options. schedule: keys of ``Schedule`` that differ from their default. mode: see :func:`calibrate`. scope:
    which variances of the feature store are used (SPEC 2.6). match: see :func:`calibration_target`.
    """

    dataset: str
    noise: str
    snr_db: float | None = None
    kind: str | None = None
    file: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)
    mode: str = "integer_T"
    scope: str = "stored"
    match: str = "nominal"


@dataclass(frozen=True)
class Level:
    """A calibrated noise level. ``steps`` is T, or None where alpha_bar was solved exactly."""

    steps: int | None
    alpha_bar: float
    attained_db: float

    def misses(self, target_db: float) -> bool:
        """Whether the attained SNR is further than TOLERANCE_DB from the target (SPEC 2.6, quantisation trap)."""
        return abs(self.attained_db - target_db) > TOLERANCE_DB


def snr_db(alpha_bar: float, variance: float) -> float:
    """Return the SNR in dB of features of this variance at this alpha_bar (paper Eq. 4 and 5)."""
    return 10 * math.log10(alpha_bar * variance / (1 - alpha_bar))


def exact_alpha_bar(target_db: float, variance: float) -> float:
    """Return the alpha_bar that meets a target SNR exactly: the inverse of :func:`snr_db`."""
    snr = 10 ** (target_db / 10)
    return snr / (snr + variance)


def calibrate(target_db: float, variance: float, schedule: Schedule, mode: str = "integer_T") -> Level:
    """Calibrate the noise level of one modality.

    target_db: target SNR in dB. variance: variance of the modality's features in the corruption space (SPEC 2.6).
    mode: ``integer_T`` chooses the integer T whose SNR is nearest to the target (the smaller T in a tie),
    ``exact_abar`` solves for alpha_bar. Raises ConfigError if the variance is not positive, the mode is unknown, or
    no chain of up to ``schedule.chain`` or LONGEST_CHAIN steps reaches the target.
    """
    if not variance > 0:
        raise ConfigError(f"Cannot calibrate noise for features of variance {variance}: the modality is constant.")
    if mode == "exact_abar":
        return Level(None, exact_alpha_bar(target_db, variance), float(target_db))
    if mode != "integer_T":
        raise ConfigError(f"noise.calibration.mode: unknown mode '{mode}'. Choose from {', '.join(MODES)}.")
    best, longest = None, schedule.chain or LONGEST_CHAIN
    for steps in range(1, longest + 1):
        alpha_bar = schedule.alpha_bar(steps)
        level = Level(steps, alpha_bar, snr_db(alpha_bar, variance))
        if best is None or abs(level.attained_db - target_db) < abs(best.attained_db - target_db):
            best = level
        if level.attained_db <= target_db:
            return best
    raise ConfigError(f"No T up to {longest} brings variance {variance:.4g} down to {target_db} dB.")


def calibration_target(target_db: float, power: float, match: str) -> float:
    """Return the SNR to calibrate to, as if the noise had unit power.

    power: mean square of the kind's eps. ``nominal`` keeps the target, so all kinds share their T and a kind of lower
    power is milder than its label (as in the paper; SPEC 2.4). ``effective`` corrects for the power, so all kinds are
    equally strong. Raises ConfigError for any other ``match``.
    """
    if match not in MATCHES:
        raise ConfigError(f"noise.calibration.match: unknown choice '{match}'. Choose from {', '.join(MATCHES)}.")
    return target_db if match == "nominal" else target_db + 10 * math.log10(power)


def calibrate_row(
    label_db: float,
    variance: float,
    schedule: Schedule,
    mode: str = "integer_T",
    power: float = 1.0,
    match: str = "nominal",
) -> tuple[Level, float]:
    """Return the level of one table row and the SNR that it was calibrated to (:func:`calibration_target`).

    At EXACT_TARGET_DB, alpha_bar is solved exactly if every integer T misses the target by more than TOLERANCE_DB: the
    first row of Table 4 (SPEC 2.6, quantisation trap).
    """
    target = calibration_target(label_db, power, match)
    level = calibrate(target, variance, schedule, mode)
    if label_db == EXACT_TARGET_DB and level.misses(target):
        level = calibrate(target, variance, schedule, "exact_abar")
    return level, target
