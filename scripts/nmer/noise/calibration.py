"""From a target SNR in dB to the noise level of one modality: T, or the exact alpha_bar (SPEC 2.5, 2.6)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from nmer.errors import ConfigError
from nmer.noise.schedule import LinearSchedule

MODES = ("integer_T", "exact_abar")
LONGEST_CHAIN = 5000
EXACT_TARGET_DB = 0
"""The one target that small variances miss with a whole T, so that it is solved for exactly there (SPEC 2.6)."""

TOLERANCE_DB = 1.0
"""An attained SNR further than this from its target is reported as a warning."""


@dataclass(frozen=True)
class CalibrationSettings:
    """What a calibration depends on. options: of the noise kind; file: of a user's kind; schedule: betas other than
    the default; mode and scope: see :func:`calibrate` and the feature store's variances (SPEC 2.6)."""

    dataset: str
    noise: str
    snr_db: int
    file: str | None = None
    options: dict = field(default_factory=dict)
    schedule: dict = field(default_factory=dict)
    mode: str = "integer_T"
    scope: str = "stored"


@dataclass(frozen=True)
class Level:
    """A calibrated noise level. ``steps`` is T, or None where alpha_bar was solved for exactly."""

    steps: int | None
    alpha_bar: float
    attained_db: float

    def misses(self, target_db: float) -> bool:
        """Whether the attained SNR is further than TOLERANCE_DB from the target (SPEC 2.6, quantisation trap)."""
        return abs(self.attained_db - target_db) > TOLERANCE_DB


def snr_db(alpha_bar: float, variance: float) -> float:
    """SNR in dB of features of this variance at this alpha_bar (paper Eq. 4 and 5)."""
    return 10 * math.log10(alpha_bar * variance / (1 - alpha_bar))


def exact_alpha_bar(target_db: float, variance: float) -> float:
    """The alpha_bar that meets a target SNR exactly: the inverse of :func:`snr_db`."""
    snr = 10 ** (target_db / 10)
    return snr / (snr + variance)


def calibrate(target_db: float, variance: float, schedule: LinearSchedule, mode: str = "integer_T") -> Level:
    """The noise level of one modality.

    target_db: target SNR in dB. variance: of the modality's features, in the corruption space (SPEC 2.6).
    mode: ``integer_T`` takes the whole T whose SNR is nearest to the target (the smaller T of two equally near),
    ``exact_abar`` solves for alpha_bar. Raises ConfigError for a variance that is not positive, an unknown mode,
    or a target that no chain of up to LONGEST_CHAIN steps reaches.
    """
    if not variance > 0:
        raise ConfigError(f"Cannot calibrate noise for features of variance {variance}: the modality is constant.")
    if mode == "exact_abar":
        return Level(None, exact_alpha_bar(target_db, variance), float(target_db))
    if mode != "integer_T":
        raise ConfigError(f"noise.calibration.mode: unknown mode '{mode}'. Choose from {', '.join(MODES)}.")
    best = None
    for steps in range(1, LONGEST_CHAIN + 1):
        alpha_bar = schedule.alpha_bar(steps)
        level = Level(steps, alpha_bar, snr_db(alpha_bar, variance))
        if best is None or abs(level.attained_db - target_db) < abs(best.attained_db - target_db):
            best = level
        if level.attained_db <= target_db:
            return best
    raise ConfigError(f"No T up to {LONGEST_CHAIN} brings variance {variance:.4g} down to {target_db} dB.")


def calibrate_row(target_db: float, variance: float, schedule: LinearSchedule, mode: str = "integer_T") -> Level:
    """:func:`calibrate`, but at EXACT_TARGET_DB solved for exactly where a whole T misses it by more than TOLERANCE_DB:
    the first row of Table 4 (SPEC 2.6, quantisation trap)."""
    level = calibrate(target_db, variance, schedule, mode)
    if target_db == EXACT_TARGET_DB and level.misses(target_db):
        return calibrate(target_db, variance, schedule, "exact_abar")
    return level
