"""Calibrated levels whose SNR misses the target, and the reasons."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from nmer.noise.calibration import TOLERANCE_DB

COARSE, WEAK, DRAWN = "coarse_T", "power", "noise_drawn"
"""Reasons why a level misses its target. COARSE: no integer T is near enough. WEAK: the noise does not have unit power
and the calibration ignores that (``match: nominal``). DRAWN: the noise drawn does not have the nominal power of its
kind."""


def miss(row: Mapping[str, Any]) -> str:
    """Return COARSE, WEAK or DRAWN if the SNR of a level misses its target by more than TOLERANCE_DB, else "".

    row: ``snr_db``, ``attained_db``, ``effective_db``, ``target_db`` and, once noise was drawn, ``measured_db``, as
    numbers or text. The result is empty for a row without an SNR. Without ``measured_db`` the other columns decide.
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
    """Describe the levels that miss their target in one sentence per dataset, noise and reason.

    rows: those that :func:`miss` reads, with ``dataset`` and ``noise``.
    """
    grouped: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        if _number(row.get("snr_db")) is not None:
            grouped.setdefault((str(row["dataset"]), str(row["noise"])), []).append(row)
    sentences = []
    for (dataset, noise), levels in grouped.items():
        for reason in (DRAWN, COARSE, WEAK):
            missed = [row for row in levels if miss(row) == reason]
            if missed:
                place = f"{dataset}, {noise}: {len(missed)} of {len(levels)} levels"
                sentences.append(f"{place} miss their target by {_span(missed)}. {_REASONS[reason]}")
    return sentences


_REASONS = {
    DRAWN: "The power of the noise drawn differs from the power that its level was calibrated with. The power of a "
    "kind must depend on its options only (in a very small corpus, chance also matters).",
    COARSE: "No integer T is nearer. Consider noise.calibration.mode: exact_abar.",
    WEAK: "The noise does not have unit power, and noise.calibration.match is nominal, as in the paper.",
}


def _span(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the range of the deviations of rows from their labels."""
    found = []
    for row in rows:
        snrs = (_number(row.get(name)) for name in ("measured_db", "effective_db", "attained_db"))
        found.append(next(snr for snr in snrs if snr is not None) - float(row["snr_db"]))
    low, high = min(found), max(found)
    return f"{low:+.1f} dB" if f"{low:+.1f}" == f"{high:+.1f}" else f"{low:+.1f} to {high:+.1f} dB"


def _number(value: object) -> float | None:
    """Return a number or text as a number; None for an empty field or pandas' missing value. Infinities are kept."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return None if math.isnan(number) else number
