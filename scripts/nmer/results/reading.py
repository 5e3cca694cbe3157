"""Read CSV files of earlier steps with their original types, and iterate over the rows of tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import pandas_dtype

from nmer.errors import DataError
from nmer.snr_column import snr_typed

SNR = "snr_db"
"""Type of the column of SNRs in dB (:mod:`nmer.snr_column`)."""


def read_columns(
    path: str | Path, columns: Mapping[str, str], optional: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Read the named columns of a CSV, typed, in the given order.

    columns: name -> ``str``, ``Int64``, ``int64``, ``float64`` or SNR. An empty field is a missing number (not allowed
    for ``int64``), or an empty string, so a system called NA keeps its name. optional: further columns, read if they
    exist.
    Raises DataError if the file is missing or damaged, lacks a column, or has text in a column of numbers.
    """
    try:
        text = pd.read_csv(path, dtype=str, keep_default_na=False)
        missing = [column for column in columns if column not in text]
        if missing:
            raise DataError(f"{path}: no column {', '.join(missing)}. Delete it and run again.")
        present = {column: kind for column, kind in (optional or {}).items() if column in text}
        typed = {column: _as_kind(text[column], kind) for column, kind in {**columns, **present}.items()}
    except (OSError, TypeError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}). Delete it and run again.") from None
    return pd.DataFrame(typed)


def _as_kind(column: pd.Series, kind: str) -> pd.Series:
    if kind == "str":
        return column
    if kind == SNR:
        return snr_typed(column)
    return pd.to_numeric(column.replace("", None)).astype(pandas_dtype(kind))


NAMES = (
    *("dataset", "system", "regime", "noise", "modality", "condition", "metric"),
    *("label", "predicted", "utterance", "kind", "part", "quantity"),
)
"""Columns of names. A name may look like another type: ``nan``, ``null``, ``inf``, ``true``, ``007``."""


def read_csv(path: str | Path) -> pd.DataFrame:
    """Read a CSV whose columns are not all known. An empty field is missing in every column.

    Columns in NAMES are text. Others are numeric if they hold only numbers, bool if they hold only True and False, and
    otherwise text. Raises OSError or ValueError if the file is missing or damaged.
    """
    text = pd.read_csv(path, dtype=str, keep_default_na=False)
    missing = text.mask(text == "")
    for name in missing:
        if name not in NAMES:
            missing[name] = _typed(missing[name])
    return missing


def _typed(column: pd.Series) -> pd.Series:
    values = set(column.dropna())
    if values and values <= {"True", "False"}:
        return column.map({"True": True, "False": False})
    try:
        return pd.to_numeric(column.mask(column.isin(("nan", "NaN"))))  # as csv.writer writes a missing number
    except ValueError:
        return column


def rows_of(table: pd.DataFrame) -> Iterable[Any]:
    """Iterate over the rows of a table, with columns and ``Index`` as attributes, untyped for the type checker."""
    return table.itertuples()
