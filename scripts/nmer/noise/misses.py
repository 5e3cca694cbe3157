"""Whether noise is as strong as its label: the measured SNR of every calibrated level against its target."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from nmer.noise.calibration import TOLERANCE_DB

COARSE, WEAK, DRAWN = "coarse_T", "power", "noise_drawn"
"""Why a level misses its target: no whole T is near enough; the noise has not unit power, and is not calibrated for it
(``match: nominal``); the noise that was drawn has another power than the one its kind states or was found to have."""


def miss(row: Mapping[str, Any]) -> str:
    """COARSE, WEAK or DRAWN if the SNR of a level is further than TOLERANCE_DB from its target, else an empty text.

    row: ``snr_db``, ``attained_db``, ``effective_db``, ``target_db`` and, once noise was drawn, ``measured_db``, as
    numbers or text. A row without an SNR, or without a measured one, misses nothing that can be known.
    """
    label, attained, effective, target = (
        _number(row.get(name)) for name in ("snr_db", "attained_db", "effective_db", "target_db")
    )
    if label is None or attained is None:
        return ""
    measured = _number(row.get("measured_db"))
    if measured is not None and effective is not None and not abs(measured - effective) <= TOLERANCE_DB:
        return DRAWN
    if target is not None and not abs(attained - target) <= TOLERANCE_DB:
        return COARSE
    found = effective if measured is None else measured
    return WEAK if found is not None and not abs(found - label) <= TOLERANCE_DB else ""


def miss_sentences(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence per dataset, noise and reason on the levels that miss their target. rows: as :func:`miss` reads, with
    ``dataset`` and ``noise``."""
    grouped: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        if _number(row.get("snr_db")) is not None:
            grouped.setdefault((str(row["dataset"]), str(row["noise"])), []).append(row)
    sentences = []
    for (dataset, noise), levels in grouped.items():
        for reason in (DRAWN, COARSE, WEAK):
            here = [row for row in levels if miss(row) == reason]
            if here:
                place = f"{dataset}, {noise}: {len(here)} of {len(levels)} levels"
                sentences.append(f"{place} miss their target by {_span(here)}. {_REASONS[reason]}")
    return sentences


_REASONS = {
    DRAWN: "The noise that was drawn does not have the power that its level was calculated with: the power of a kind "
    "must depend on its options only (in a very small corpus chance matters too).",
    COARSE: "The nearest whole T is that far off. Consider noise.calibration.mode: exact_abar.",
    WEAK: "The noise does not have unit power, and noise.calibration.match is nominal, as in the paper.",
}


def _span(rows: Iterable[Mapping[str, Any]]) -> str:
    """How far the found SNR of some rows is from their labels, from lowest to highest."""
    found = []
    for row in rows:
        snrs = (_number(row.get(name)) for name in ("measured_db", "effective_db", "attained_db"))
        found.append(next(snr for snr in snrs if snr is not None) - float(row["snr_db"]))
    low, high = min(found), max(found)
    return f"{low:+.1f} dB" if f"{low:+.1f}" == f"{high:+.1f}" else f"{low:+.1f} to {high:+.1f} dB"


def _number(value: object) -> float | None:
    """A number from a number or text; None for an empty field and for pandas' missing value. Infinities stay."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return None if math.isnan(number) else number
