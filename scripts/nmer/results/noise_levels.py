"""Noise levels of a tidy table: SNRs in dB and rates, in the order of their severity. Not for scores over levels."""

from __future__ import annotations

import pandas as pd

from nmer.names import plain_number
from nmer.report_settings import ReportSettings
from nmer.results.labels import rates_by_noise


def with_rates(table: pd.DataFrame, settings: ReportSettings) -> pd.DataFrame:
    """The table with the column ``rate``, and the name of its kind as the noise of a rate.

    table: columns noise and snr_db. rate: float64, missing for an SNR and for a kind without a level.
    """
    rates = rates_by_noise(settings.rates)
    kinds = {noise: kind for noise, (kind, _rate) in rates.items()}
    rate = table["noise"].map({noise: rate for noise, (_kind, rate) in rates.items()}).astype("float64")
    return table.assign(noise=table["noise"].replace(kinds), rate=rate)


def level_of(table: pd.DataFrame) -> pd.Series:
    """The level of every row, float64: its rate, or its SNR in dB; missing without either."""
    return table["rate"].fillna(table["snr_db"].astype("float64"))


def severity_of(table: pd.DataFrame) -> pd.Series:
    """Numbers that grow with the noise: rates, or SNRs negated."""
    return table["rate"].fillna(-table["snr_db"].astype("float64"))


def ordered_levels(table: pd.DataFrame) -> list[float]:
    """The levels of a table that has rates alone or SNRs alone, each once, least noise first."""
    pairs = set(zip(severity_of(table), level_of(table), strict=True))
    return [plain_number(level) for _severity, level in sorted(pairs)]
