"""Noise levels of a dataset: all modalities calibrated to one target SNR, as rows of the calibration table."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nmer.content import converting
from nmer.errors import ConfigError, DataError
from nmer.names import MODALITIES, corruption_name
from nmer.noise.calibration import CalibrationSettings, calibrate_row
from nmer.noise.registry import load_kind, noise_power
from nmer.noise.schedule import Schedule

COLUMNS = (
    *("dataset", "modality", "noise", "snr_db", "variance", "T", "alpha_bar"),
    *("attained_db", "effective_db", "target_db"),
)
"""snr_db: the label. attained_db: SNR of noise with unit power. target_db: the target of attained_db (``match``).
effective_db: SNR with the nominal power of the kind."""


def calibration_rows(
    settings: CalibrationSettings, variances: Mapping[str, float], schedule: Schedule
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a row (COLUMNS) per modality, and warnings about levels that miss their target by more than 1 dB.

    variances: modality -> variance of its features. The level is empty in rows of a kind without an SNR
    (``settings.snr_db`` is None). Raises ConfigError for noise without power and for a level out of reach.
    """
    named = {"dataset": settings.dataset, "noise": settings.noise, "snr_db": settings.snr_db}
    rows: list[dict[str, Any]] = [
        dict.fromkeys(COLUMNS, "") | named | {"modality": m, "variance": v} for m, v in variances.items()
    ]
    if settings.snr_db is None:
        return [row | {"snr_db": ""} for row in rows], []
    power = noise_power(load_kind(settings.kind or settings.noise, settings.file), settings.options)
    if not 0 < power < math.inf:
        raise ConfigError(f"noise.kinds.{settings.noise}: this noise has no power, so no SNR. Change its options.")
    warnings = []
    for row in rows:
        level, target = calibrate_row(settings.snr_db, row["variance"], schedule, settings.mode, power, settings.match)
        if level.misses(target):
            place = f"{settings.dataset}, {row['modality']}, {corruption_name(settings.noise, settings.snr_db)}"
            warnings.append(
                f"{place}: the nearest integer T ({level.steps}) gives {level.attained_db:.2f} dB, not {target:.2f} dB."
                " Consider calibration mode exact_abar."
            )
        row["T"] = "" if level.steps is None else level.steps
        row["alpha_bar"], row["attained_db"] = level.alpha_bar, level.attained_db
        row["effective_db"], row["target_db"] = level.attained_db - 10 * math.log10(power), target
    return rows, warnings


def read_levels(path: str | Path, additive: bool, modalities: Iterable[str] = MODALITIES) -> dict[str, dict[str, str]]:
    """Read a calibration table: modality -> row, as text.

    additive: whether the rows must contain a level. modalities: the modalities that must have a row.
    Raises DataError if the file is damaged, or lacks a modality or a column.
    """
    remedy = "Delete it and run again."
    with Path(path).open(newline="", encoding="utf-8") as stream, converting(path, remedy):
        try:
            rows = {row["modality"]: row for row in csv.DictReader(stream)}
        except csv.Error as error:
            raise DataError(f"{path}: is not a calibration table ({error}). {remedy}") from None
        for m in modalities:
            absent = [column for column in COLUMNS if rows[m].get(column) is None]
            if absent:
                raise DataError(f"{path}: the row of modality '{m}' has no {', '.join(absent)}. {remedy}")
            if additive and not (0 < float(rows[m]["alpha_bar"]) < 1 and float(rows[m]["variance"]) > 0):
                raise DataError(f"{path}: modality '{m}' has an impossible alpha_bar or variance. {remedy}")
    return rows
