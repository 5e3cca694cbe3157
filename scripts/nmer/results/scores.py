"""Read, collect and average scores as tidy tables (SPEC 6.2). Does not compute scores."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.typing import SeriesGroupBy

from nmer.errors import DataError
from nmer.metrics import METRICS
from nmer.names import ALL_NOISY, AVERAGE, CONDITIONS, SCORE, corruption_name, incomplete_conditions, modality_set
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
"""Keys of one average over folds and repeats."""

_ORDER = {"condition": CONDITIONS, "metric": tuple(METRICS)}


TRAINED_AT = "trained_at"
"""Column of the scores of trainings that are tested at several levels: the name of a level, ``mixed`` or ``clean``."""


def read_scores(path: str | Path) -> pd.DataFrame:
    """Read the scores that tables show: trainings tested at several levels count at their own (:func:`at_own_level`).

    Columns COLUMNS; otherwise like :func:`read_all_scores`.
    """
    return at_own_level(read_all_scores(path))


def at_own_level(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the scores that tables show, without the column TRAINED_AT.

    If a system has several trainings, only tests at the level of the training are kept. All scores are kept if it has
    one training, or trainings without a level: trained on clean data, or tested only at their own level.
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
    """Read one scores CSV, typed: columns COLUMNS, and TRAINED_AT if it exists; ``snr_db`` is missing without an SNR.

    The noise kind of clean data is an empty string. Raises DataError if the file is missing, damaged or lacks a column,
    or if a value is outside the range of its metric. A metric of scores may be undefined (NaN).
    """
    scores = read_columns(path, _TYPES, optional={TRAINED_AT: "str"})
    for name, part in scores.groupby("metric", sort=False)["value"]:
        metric = METRICS.get(str(name), METRICS["WA"])
        possible = part.between(metric.lowest, metric.highest) & (part < np.inf)
        possible |= part.isna() & (metric.target == SCORE)
        if not possible.all():
            span = "fractions from 0 to 1" if metric.is_fraction else f"from {metric.lowest:g} to {metric.highest:g}"
            raise DataError(f"{path}: scores must be {span}. Delete the file and run again.")
    return scores


def collect(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Collect all scores of an experiment in one table, in an order that depends only on their content.

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
    """Compute mean and standard deviation over repeats of every cell, including averages over incomplete conditions.

    scores: rows as in COLUMNS. Each (repeat, fold, condition) has equal weight, regardless of its number of items: mean
    over conditions (for ``average``), then over folds, then mean and std (ddof 1, missing for one repeat) over repeats.
    Returns the columns CELL, ``mean``, ``std``, ``n`` (number of repeats).
    Raises DataError if conditions or folds are missing for some repeat. Source: SPEC 6.2.
    """
    rows = pd.concat([scores, _mean_of_incomplete(scores)], ignore_index=True)
    by_repeat = (
        rows.groupby([*CELL, "repeat"], dropna=False, sort=False)["value"].agg(["mean", "size", "count"]).reset_index()
    )
    # A mean with an undefined part is undefined.
    by_repeat["mean"] = by_repeat["mean"].where(by_repeat["count"] == by_repeat["size"])
    cells = by_repeat.groupby(list(CELL), dropna=False, sort=False)
    if (cells["size"].nunique() > 1).any():
        raise DataError(f"Some repeats lack folds ({_first(cells['size'].nunique() > 1)}). Run the missing ones first.")
    averages: pd.DataFrame = cells["mean"].agg(mean="mean", std="std", n="size").reset_index()
    undefined = (cells["mean"].count() < cells.size()).to_numpy()
    averages.loc[undefined, ["mean", "std"]] = np.nan
    return averages


def defined_mean(groups: SeriesGroupBy[Any, Any]) -> pd.Series:
    """Return the mean of each group, missing if one of its values is."""
    means: pd.Series = groups.mean().where(groups.count() == groups.size())
    return means


def of_regime(scores: pd.DataFrame, regime: str) -> pd.DataFrame:
    """Return the scores of models trained in a regime, including systems trained only on clean data (MEN; SPEC 4.1).

    These have one training for all noise, so their ``clean`` rows are in both Table 2 and Table 5.
    """
    regimes = scores.groupby("system")["regime"].agg(set)
    clean_only = [system for system, own in regimes.items() if own == {"clean"}]
    return scores[(scores["regime"] == regime) | scores["system"].isin(clean_only)]


def modalities_of(conditions: Iterable[str]) -> tuple[str, ...]:
    """Return the modalities of a corpus, in the order a, v, l: those that are clean in any tested condition. Every
    multimodal test includes the all-clean condition (SPEC 13)."""
    return modality_set("".join(set(conditions) & (set(CONDITIONS) - {ALL_NOISY})))


def incomplete(table: pd.DataFrame) -> pd.Series:
    """Return a mask of the rows with an incomplete condition of their dataset. table: columns dataset and condition,
    with every tested condition."""
    possible = _tested_incomplete(table)
    pairs = zip(table["dataset"], table["condition"], strict=True)
    return pd.Series([condition in possible[dataset] for dataset, condition in pairs], table.index, dtype=bool)


def tested_incomplete(conditions: Iterable[str]) -> tuple[str, ...]:
    """Return the incomplete ones among the tested conditions of a corpus, which scores are averaged over."""
    tested = set(conditions)
    return tuple(name for name in incomplete_conditions(modalities_of(tested)) if name in tested)


def _tested_incomplete(table: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Return dataset -> its tested incomplete conditions. table: as for :func:`incomplete`."""
    by_dataset = table.groupby("dataset", sort=False)["condition"]
    return {str(dataset): tested_incomplete(tested.unique()) for dataset, tested in by_dataset}


def _mean_of_incomplete(scores: pd.DataFrame) -> pd.DataFrame:
    without_condition = [column for column in CELL if column != "condition"]
    groups = scores[incomplete(scores)].groupby([*without_condition, "fold", "repeat"], dropna=False, sort=False)
    sizes = groups["value"].size()
    tested = {dataset: len(names) for dataset, names in _tested_incomplete(scores).items()}
    lacking = sizes != [tested[dataset] for dataset in sizes.index.get_level_values("dataset")]
    if lacking.any():
        raise DataError(
            f"The scores do not contain each incomplete condition once ({_first(lacking)}). Run the evaluation again."
        )
    return defined_mean(groups["value"]).reset_index().assign(condition=AVERAGE)


def _first(mask: pd.Series) -> str:
    place = mask[mask].index[0]
    return ", ".join(f"{name} {value}" for name, value in zip(mask.index.names, place, strict=True))


def _rank(column: pd.Series) -> pd.Series:
    if column.name in _ORDER:
        position = {name: rank for rank, name in enumerate(_ORDER[column.name])}
        return column.map(lambda name: position.get(name, len(position)))
    # Least noise first; a smaller SNR is more noise.
    return -column if column.name == "snr_db" else column
