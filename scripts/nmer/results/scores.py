"""Scores as tidy tables: reading, collecting and averaging them (SPEC 6.2). Not for computing a score."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.typing import SeriesGroupBy

from nmer.errors import DataError
from nmer.metrics import METRICS, SCORE
from nmer.names import ALL_NOISY, AVERAGE, CONDITIONS, corruption_name, incomplete_conditions, modality_set
from nmer.results.reading import SNR, read_columns
from nmer.snr_column import snr_of, with_snr

_TYPES = {
    **dict.fromkeys(("dataset", "system", "regime", "noise"), "str"),
    "snr_db": SNR,
    "condition": "str",
    **dict.fromkeys(("fold", "repeat"), "int64"),
    "metric": "str",
    "value": "float64",
    "n": "int64",
}
COLUMNS = tuple(_TYPES)
CELL = ("dataset", "system", "regime", "noise", "snr_db", "condition", "metric")
"""What one average stands for; folds and repeats are averaged over."""

_ORDER = {"condition": CONDITIONS, "metric": tuple(METRICS)}


TRAINED_AT = "trained_at"
"""Column of the scores of trainings that are tested at several levels: the name of a level, ``mixed`` or ``clean``."""


def read_scores(path: str | Path) -> pd.DataFrame:
    """Read one scores CSV as tables show it: of trainings at several levels, each at its own (:func:`at_own_level`).

    Columns COLUMNS, else as :func:`read_all_scores`.
    """
    return at_own_level(read_all_scores(path))


def at_own_level(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores that tables show, without the column TRAINED_AT.

    Of several trainings those that are tested at the level of their training; all of a single one, and those without
    a training of their own level: trained on clean data, or tested at their own level only.
    """
    if TRAINED_AT not in scores:
        return scores
    trained = scores[TRAINED_AT]
    if trained[trained != ""].nunique() > 1:
        levels = zip(scores["noise"], scores["snr_db"], strict=True)
        names = [corruption_name(noise, snr_of(level)) for noise, level in levels]
        scores = scores[(trained == "") | (trained == names)]
    return scores.drop(columns=TRAINED_AT).reset_index(drop=True)


def read_all_scores(path: str | Path) -> pd.DataFrame:
    """Read one scores CSV (columns COLUMNS, and TRAINED_AT where it has that), typed; a level is missing without SNR.

    An empty noise kind (clean data) is an empty string. Raises DataError if the file is missing, damaged or
    lacks a column, or if a value is outside the range of its metric. A metric of scores may be undefined (NaN).
    """
    try:
        has_column = TRAINED_AT in pd.read_csv(path, nrows=0).columns
    except (OSError, ValueError):
        has_column = False  # what is wrong is said below
    scores = read_columns(path, _TYPES | ({TRAINED_AT: "str"} if has_column else {}))
    for name, part in scores.groupby("metric", sort=False)["value"]:
        metric = METRICS.get(str(name), METRICS["WA"])
        possible = part.between(metric.lowest, metric.highest) & (part < np.inf)
        possible |= part.isna() & (metric.target == SCORE)
        if not possible.all():
            told = "fractions from 0 to 1" if metric.is_fraction else f"from {metric.lowest:g} to {metric.highest:g}"
            raise DataError(f"{path}: scores must be {told}. Delete the file and run again.")
    return scores


def collect(paths: Iterable[str | Path]) -> pd.DataFrame:
    """All scores of an experiment in one table, in an order that depends on their content alone.

    Raises DataError if two files give different values for the same score.
    """
    frames = [read_all_scores(path) for path in paths]
    if not frames:
        raise DataError("No scores to collect: pass at least one file after --scores.")
    scores = with_snr(pd.concat(frames, ignore_index=True)).drop_duplicates(ignore_index=True)
    key = [column for column in COLUMNS if column not in ("value", "n")]
    if TRAINED_AT in scores:
        scores = scores.fillna({TRAINED_AT: ""})
        key.append(TRAINED_AT)
    clash = scores[scores.duplicated(key)]
    if len(clash):
        first = ", ".join(f"{column} {clash.iloc[0][column]}" for column in key)
        raise DataError(f"Two scores files contradict each other ({first}). Delete both and run again.")
    return scores.sort_values(key, key=_rank, kind="stable", ignore_index=True)


def average(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over repeats of every cell, the average of the incomplete conditions among them.

    scores: rows as in COLUMNS. Each (repeat, fold, condition) counts once, whatever its number of items ``n``: mean
    over conditions (for ``average``), then over folds, then mean and std (ddof 1, missing for one repeat) over repeats.
    Returns the columns CELL, ``mean``, ``std``, ``n`` (number of repeats).
    Raises DataError if conditions or folds are missing for some repeat. Source: SPEC 6.2.
    """
    rows = pd.concat([scores, _mean_of_incomplete(scores)], ignore_index=True)
    by_repeat = (
        rows.groupby([*CELL, "repeat"], dropna=False, sort=False)["value"].agg(["mean", "size", "count"]).reset_index()
    )
    # The mean of what is undefined in part is undefined, not the mean of the rest.
    by_repeat["mean"] = by_repeat["mean"].where(by_repeat["count"] == by_repeat["size"])
    cells = by_repeat.groupby(list(CELL), dropna=False, sort=False)
    if (cells["size"].nunique() > 1).any():
        raise DataError(f"Some repeats lack folds ({_first(cells['size'].nunique() > 1)}). Run what is missing first.")
    found: pd.DataFrame = cells["mean"].agg(mean="mean", std="std", n="size").reset_index()
    undefined = (cells["mean"].count() < cells.size()).to_numpy()
    found.loc[undefined, ["mean", "std"]] = np.nan
    return found


def defined_mean(groups: SeriesGroupBy[Any, Any]) -> pd.Series:
    """Mean of each group, missing where a value of it is."""
    found: pd.Series = groups.mean().where(groups.count() == groups.size())
    return found


def of_regime(scores: pd.DataFrame, regime: str) -> pd.DataFrame:
    """Scores of the models trained in a regime; a system trained on clean data alone (MEN) counts with that (SPEC 4.1).

    Such a system has one training for all noise, so its ``clean`` rows stand in both Table 2 and Table 5.
    """
    regimes = scores.groupby("system")["regime"].agg(set)
    clean_only = [system for system, found in regimes.items() if found == {"clean"}]
    return scores[(scores["regime"] == regime) | scores["system"].isin(clean_only)]


def modalities_of(conditions: Iterable[str]) -> tuple[str, ...]:
    """The modalities of a corpus, in the order a, v, l, by the conditions under which it was tested: those that are
    clean in any. Every multimodal test includes the condition in which all of them are (SPEC 13)."""
    return modality_set("".join(set(conditions) & (set(CONDITIONS) - {ALL_NOISY})))


def incomplete(table: pd.DataFrame) -> pd.Series:
    """Which rows are of an incomplete condition of their dataset, bool. table: columns dataset and condition, of every
    condition that was tested."""
    possible = _tested_incomplete(table)
    pairs = zip(table["dataset"], table["condition"], strict=True)
    return pd.Series([condition in possible[dataset] for dataset, condition in pairs], table.index, dtype=bool)


def tested_incomplete(conditions: Iterable[str]) -> tuple[str, ...]:
    """The incomplete ones among the conditions under which a corpus was tested, over which scores are averaged."""
    tested = set(conditions)
    return tuple(name for name in incomplete_conditions(modalities_of(tested)) if name in tested)


def _tested_incomplete(table: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Dataset -> its incomplete conditions that were tested. table: as for :func:`incomplete`."""
    by_dataset = table.groupby("dataset", sort=False)["condition"]
    return {str(dataset): tested_incomplete(tested.unique()) for dataset, tested in by_dataset}


def _mean_of_incomplete(scores: pd.DataFrame) -> pd.DataFrame:
    without_condition = [column for column in CELL if column != "condition"]
    groups = scores[incomplete(scores)].groupby([*without_condition, "fold", "repeat"], dropna=False, sort=False)
    sizes = groups["value"].size()
    wanted = {dataset: len(names) for dataset, names in _tested_incomplete(scores).items()}
    lacking = sizes != [wanted[dataset] for dataset in sizes.index.get_level_values("dataset")]
    if lacking.any():
        raise DataError(
            f"The scores do not hold each incomplete condition once ({_first(lacking)}). Run the evaluation again."
        )
    return defined_mean(groups["value"]).reset_index().assign(condition=AVERAGE)


def _first(mask: pd.Series) -> str:
    place = mask[mask].index[0]
    return ", ".join(f"{name} {value}" for name, value in zip(mask.index.names, place, strict=True))


def _rank(column: pd.Series) -> pd.Series:
    if column.name in _ORDER:
        position = {name: rank for rank, name in enumerate(_ORDER[column.name])}
        return column.map(lambda name: position.get(name, len(position)))
    # Least noise first: a smaller SNR is a stronger corruption.
    return -column if column.name == "snr_db" else column
