"""Select and order the rows of tidy tables for figures, in the order of the experiment's settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from nmer.errors import ConfigError
from nmer.names import ALL_NOISY, corruption_name
from nmer.report_settings import ReportSettings
from nmer.snr_column import snr_of


def of_dataset(table: pd.DataFrame, settings: ReportSettings, dataset: str) -> pd.DataFrame:
    """Return the rows of one dataset. Raises ConfigError if the settings do not contain it."""
    if dataset not in settings.datasets:
        raise ConfigError(f"--dataset: '{dataset}' is not one of {', '.join(settings.datasets)}.")
    return table[table["dataset"] == dataset]


def corruptions(settings: ReportSettings) -> list[str]:
    """Return the names of the noise kinds at their levels, kind by kind, least noise first."""
    return [corruption_name(noise, level) for noise in settings.snr_db for level in settings.levels(noise)]


def outermost_levels(settings: ReportSettings) -> list[tuple[str, float | None]]:
    """Return the reference noise at its mildest and hardest level, with the SNR in dB; one entry for one level."""
    run = settings.reference_levels
    return list(dict.fromkeys((run[0], run[-1])))


def outermost(settings: ReportSettings) -> list[str]:
    """Return the names of the reference noise at its mildest and hardest level."""
    return [corruption_name(noise, level) for noise, level in outermost_levels(settings)]


def of_table_5(cells: pd.DataFrame, settings: ReportSettings) -> pd.DataFrame:
    """Return the rows with all modalities noisy at the levels of Table 5. cells: columns noise, snr_db and condition.

    Systems trained on clean data are scored all noisy under every noise kind and level.
    """
    names = {corruption_name(noise, level) for noise, level in settings.all_noisy_levels}
    pairs = zip(cells["noise"], cells["snr_db"], strict=True)
    shown = np.array([corruption_name(noise, snr_of(level)) in names for noise, level in pairs], bool)
    return cells[(cells["condition"] == ALL_NOISY) & shown]


def by_level(table: pd.DataFrame) -> list[tuple[str, float | None, pd.DataFrame]]:
    """Return each noise kind at a level, with its SNR in dB (or None) and its rows, in the order of the table."""
    levels = []
    for _, rows in table.groupby(["noise", "snr_db"], dropna=False, sort=False):
        noise, snr_db = rows["noise"].iloc[0], rows["snr_db"].iloc[0]
        levels.append((noise, snr_of(snr_db), rows))
    return levels


def select(table: pd.DataFrame, order: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Return the rows whose values are all listed, sorted by the lists in the given order.

    table: columns noise and snr_db, and those named. order: column -> its values; the column ``corruption`` is a noise
    kind at a level, as named by :func:`corruptions`.
    """
    pairs = zip(table["noise"], table["snr_db"], strict=True)
    chosen = table.assign(corruption=[corruption_name(kind, snr_of(level)) for kind, level in pairs])
    for column, values in order.items():
        chosen = chosen[chosen[column].isin(values)]
    positions = {column: {value: place for place, value in enumerate(values)} for column, values in order.items()}

    def place(column: pd.Series) -> pd.Series:
        return column.map(positions[str(column.name)])

    in_order = chosen.sort_values(list(order), key=place, kind="stable")
    return in_order.drop(columns="corruption").reset_index(drop=True)
