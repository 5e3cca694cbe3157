"""Tables 1, 2, 3 and 5 as tidy data beside the paper's numbers (SPEC 6.3). Not for how they are printed.

The settings of every table are ``datasets`` (name -> ``paper_name``, ``synthetic``, ``evaluation``), ``systems``,
``snr_db`` (noise kind -> levels in dB) and ``reference_noise``.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from pathlib import Path

import pandas as pd

from nmer.errors import ConfigError, DataError
from nmer.names import ALL_NOISY, AVERAGE, SIX_CONDITIONS, SYSTEM_LABELS, in_paper_order
from nmer.results.scores import average, of_regime

KEY = ("dataset", "system", "noise", "snr_db", "condition", "metric")
COLUMNS = (*KEY, "mean", "std", "n", "paper", "difference")
SIZE_COLUMNS = ("dataset", "quantity", "value", "paper", "difference")
TABLE_METRICS = ("WA", "UA")
TABLE_3_SYSTEM = "nmer"


def read_paper(folder: str | Path, number: int) -> pd.DataFrame:
    """The paper's numbers of one table, as ``workflow/reference/paper_table{number}.csv`` holds them.

    Raises DataError if the file is missing or damaged.
    """
    path = Path(folder) / f"paper_table{number}.csv"
    try:
        paper = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: the paper's numbers cannot be read ({error}). Restore the file from git.") from None
    if "snr_db" in paper:
        paper["snr_db"] = paper["snr_db"].astype("Int64")
    return paper


def table_1(reports: Iterable[dict], settings: dict, paper: pd.DataFrame) -> pd.DataFrame:
    """Class counts and split sizes of each dataset, from the validation reports. Columns SIZE_COLUMNS.

    Classes are counted over the whole corpus, or over train and test if it has one fixed split. Sizes are those of
    fold 1; each test utterance counts once per condition under which it is tested. Source: SPEC 6.3.
    """
    by_name = {report["dataset"]: report for report in reports}
    published = {(row.dataset, row.quantity): row.value for row in paper.itertuples()}
    rows = []
    for dataset, about in settings["datasets"].items():
        if dataset not in by_name:
            raise DataError(f"No validation report for dataset '{dataset}': pass features/{dataset}.json in --reports.")
        for quantity, value in _sizes(by_name[dataset], about).items():
            rows.append((dataset, quantity, value, published.get((about.get("paper_name"), quantity))))
    table = pd.DataFrame(rows, columns=list(SIZE_COLUMNS[:-1]))
    for column in ("value", "paper"):
        table[column] = table[column].astype("Int64")
    return _with_difference(table, "value", settings)


def table_2(scores: pd.DataFrame, settings: dict, paper: pd.DataFrame) -> pd.DataFrame:
    """Every system under every noise kind and level, averaged over the six conditions. Columns COLUMNS."""
    grid = _grid(settings, systems_of(settings), list(settings["snr_db"]), [AVERAGE])
    return _compare(grid, average(of_regime(scores, "six")), settings, paper)


def table_3(scores: pd.DataFrame, settings: dict, paper: pd.DataFrame) -> pd.DataFrame:
    """NMER under the reference noise, each of the six conditions and their average. Columns COLUMNS."""
    systems = [system for system in systems_of(settings) if system == TABLE_3_SYSTEM]
    grid = _grid(settings, systems, [settings["reference_noise"]], [*SIX_CONDITIONS, AVERAGE])
    return _compare(grid, average(of_regime(scores, "six")), settings, paper)


def table_5(scores: pd.DataFrame, settings: dict, paper: pd.DataFrame) -> pd.DataFrame:
    """Every system with all modalities noisy, trained so (MEN: trained clean), reference noise. Columns COLUMNS."""
    grid = _grid(settings, systems_of(settings), [settings["reference_noise"]], [ALL_NOISY])
    return _compare(grid, average(of_regime(scores, "all")), settings, paper)


SCORE_TABLES = {2: table_2, 3: table_3, 5: table_5}


def systems_of(settings: dict) -> list[str]:
    """The multimodal systems of an experiment in the paper's row order; the uni-modal ones have another table."""
    return [system for system in in_paper_order(settings["systems"]) if not system.startswith("unimodal_")]


def levels(settings: dict, noise: str) -> list[int | None]:
    """SNRs of a noise kind in dB, least noise first; ``[None]`` for a kind without SNR, none for one not run."""
    if noise not in settings["snr_db"]:
        return []
    given = settings["snr_db"][noise] or [None]
    return sorted(given, key=lambda snr_db: 0 if snr_db is None else -snr_db)


def check(settings: dict) -> dict:
    """The settings of a table, unchanged. Raises ConfigError if a key is missing."""
    missing = [key for key in ("datasets", "systems", "snr_db", "reference_noise") if key not in settings]
    if missing:
        raise ConfigError(f"--settings lacks the key(s) {', '.join(missing)}; see --help.")
    return settings


def _sizes(report: dict, about: dict) -> dict[str, int]:
    fold = report["folds"][0]
    counts = report["class_counts"]
    if len(report["folds"]) == 1:
        counts = {name: sum(fold[split]["class_counts"].get(name, 0) for split in ("train", "test")) for name in counts}
    conditions = 1 if about.get("evaluation") == "one_condition" else len(SIX_CONDITIONS)
    return {
        **{name: counts[name] for name in report["classes"]},
        "train size": fold["train"]["utterances"],
        "test size": fold["test"]["utterances"] * conditions,
    }


def _grid(settings: dict, systems: list[str], noises: list[str], conditions: list[str]) -> pd.DataFrame:
    rows = [
        (dataset, system, noise, snr_db, condition, metric)
        for dataset, system, noise in product(settings["datasets"], systems, noises)
        for snr_db, condition, metric in product(levels(settings, noise), conditions, TABLE_METRICS)
    ]
    return pd.DataFrame(rows, columns=list(KEY)).astype({"snr_db": "Int64"})


def _compare(grid: pd.DataFrame, cells: pd.DataFrame, settings: dict, paper: pd.DataFrame) -> pd.DataFrame:
    names = {dataset: about.get("paper_name") for dataset, about in settings["datasets"].items()}
    key = list(KEY)
    # Matching by plain tuples: a missing SNR or a dataset unknown to the paper is then an ordinary value.
    published = dict(zip(_keys(paper), paper["value"], strict=True))
    paper_keys = _keys(
        grid.assign(dataset=grid["dataset"].map(names.get), system=grid["system"].map(SYSTEM_LABELS.get))
    )
    measured = cells.drop(columns="regime").astype({"snr_db": "Int64"})
    table = grid.merge(measured, on=key, how="left")
    table["n"] = table["n"].astype("Int64")
    table["paper"] = pd.Series([published.get(place) for place in paper_keys], dtype="float64")
    # A cell that was neither run nor published is no cell of the table.
    table = table[table["mean"].notna() | table["paper"].notna()].reset_index(drop=True)
    return _with_difference(table, "mean", settings)[list(COLUMNS)]


def _keys(table: pd.DataFrame) -> list[tuple]:
    rows = zip(*(table[column] for column in KEY), strict=True)
    return [tuple(None if pd.isna(value) else value for value in row) for row in rows]


def _with_difference(table: pd.DataFrame, column: str, settings: dict) -> pd.DataFrame:
    synthetic = [name for name, about in settings["datasets"].items() if about.get("synthetic")]
    difference = table[column] - table["paper"]
    # Synthetic data share a layout with the paper's corpora, not a meaning: no difference is defined.
    return table.assign(difference=difference.mask(table["dataset"].isin(synthetic)))
