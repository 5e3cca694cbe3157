"""The column ``snr_db`` of tables: whole numbers as integers, so that levels are spelt alike in files and names."""

from __future__ import annotations

from typing import Any

import pandas as pd

from nmer.names import plain_number


def with_snr(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with its column ``snr_db`` typed: Int64 if every level is whole, else Float64; missing without an
    SNR. Raises TypeError or ValueError if a level is not a number."""
    return table.assign(snr_db=snr_typed(table["snr_db"]))


def snr_typed(levels: pd.Series) -> pd.Series:
    """Return levels in dB typed as by :func:`with_snr`; empty text is a missing level."""
    numbers = pd.to_numeric(levels.replace("", None)).astype("Float64")
    return numbers.astype("Int64") if (numbers.dropna() % 1 == 0).all() else numbers


def snr_of(value: Any) -> float | None:
    """Return one level of such a column: a whole number as int, None for a missing one."""
    return None if pd.isna(value) else plain_number(value)


def merged_by_level(left: pd.DataFrame, right: pd.DataFrame, on: list[str], how: Any = "inner") -> pd.DataFrame:
    """Merge two tables on columns including ``snr_db``, whose levels may be whole in only one table."""
    sides = (table.assign(snr_db=table["snr_db"].astype("Float64")) for table in (left, right))
    first, second = sides
    return with_snr(first.merge(second, on=on, how=how))
