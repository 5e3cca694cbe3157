"""Tables 1 to 5 as tidy data with the paper's numbers (SPEC 6.3). Not for printing."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from nmer.errors import DataError
from nmer.names import (
    ALL_CLEAN,
    ALL_NOISY,
    AVERAGE,
    ONE_CONDITION,
    PAPER_AVERAGE,
    SIX_CONDITIONS,
    UNIMODAL_SYSTEMS,
    all_clean,
    incomplete_conditions,
)
from nmer.report_settings import DatasetSettings, ReportSettings
from nmer.results.chance import MARKS, with_marks
from nmer.results.scores import average, of_regime
from nmer.snr_column import merged_by_level, with_snr

KEY = ("dataset", "system", "noise", "snr_db", "condition", "metric")
COLUMNS = (*KEY, "mean", "std", "n", "paper", "difference", *MARKS)
SIZE_COLUMNS = ("dataset", "quantity", "value", "paper", "difference")
TABLE_3_SYSTEM = "nmer"

PAPER_NAMES = {
    "men": "MEN",
    "mctn": "MCTN",
    "mmin": "MMIN",
    "if_mmin": "IF-MMIN",
    "nmer": "NMER",
    "nmer_no_vae": "w/o VAE",
    "nmer_no_inv": "w/o L_inv",
}
"""The project's system names -> those in the column ``system`` of ``workflow/reference``."""


def read_paper(folder: str | Path, number: int) -> pd.DataFrame:
    """Read the paper's numbers of one table from ``workflow/reference/paper_table{number}.csv``.

    Raises DataError if the file is missing or damaged.
    """
    path = Path(folder) / f"paper_table{number}.csv"
    try:
        paper = pd.read_csv(path).replace({"condition": {PAPER_AVERAGE: AVERAGE}})
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: the paper's numbers cannot be read ({error}). Restore the file from git.") from None
    if "snr_db" in paper:
        paper = with_snr(paper)
    return paper


def in_our_names(paper: pd.DataFrame) -> pd.DataFrame:
    """Translate the paper's numbers to the project's names of systems and, for Table 4, of the condition."""
    if "modality" in paper:
        names = {modality: system for system, modality in UNIMODAL_SYSTEMS.items()}
        return paper.assign(system=paper["modality"].map(names), condition=ALL_NOISY)
    names = {label: system for system, label in PAPER_NAMES.items()}
    return paper.assign(system=paper["system"].map(names))


def table_1(reports: Iterable[dict[str, Any]], settings: ReportSettings, paper: pd.DataFrame) -> pd.DataFrame:
    """Return class counts and split sizes of each dataset, from the validation reports. Columns SIZE_COLUMNS.

    Classes are counted over the whole corpus, or over train and test if it has one fixed split. Sizes are those of
    fold 1; each test utterance counts once per condition it is tested under. Source: SPEC 6.3.
    """
    by_name = {report["dataset"]: report for report in reports}
    published = {(row.dataset, row.quantity): row.value for row in paper.itertuples()}
    rows = []
    for dataset, about in settings.datasets.items():
        if dataset not in by_name:
            raise DataError(f"No validation report for dataset '{dataset}': pass features/{dataset}.json in --reports.")
        for quantity, value in _sizes(by_name[dataset], about).items():
            rows.append((dataset, quantity, value, published.get((about.paper_name, quantity))))
    table = pd.DataFrame(rows, columns=list(SIZE_COLUMNS[:-1]))
    for column in ("value", "paper"):
        table[column] = table[column].astype("Int64")
    return _with_difference(table, "value", settings)


def table_2(
    scores: pd.DataFrame, settings: ReportSettings, paper: pd.DataFrame, trainings: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return every system under every noise kind and level, averaged over the incomplete conditions. Columns COLUMNS.

    trainings: verdicts of ``nmer.results.chance``, for the columns MARKS, which are empty without them.
    """
    places = [(noise, snr_db, AVERAGE) for noise in settings.snr_db for snr_db in settings.levels(noise)]
    return _compare(
        _grid(settings, settings.multimodal_systems, places),
        of_regime(scores, "incomplete"),
        settings,
        paper,
        trainings,
    )


def table_3(
    scores: pd.DataFrame, settings: ReportSettings, paper: pd.DataFrame, trainings: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return NMER under the reference noise in each incomplete condition and on average. Columns as :func:`table_2`."""
    systems = [system for system in settings.multimodal_systems if system == TABLE_3_SYSTEM]
    conditions = [*SIX_CONDITIONS, AVERAGE]
    places = [(noise, snr_db, condition) for noise, snr_db in settings.reference_levels for condition in conditions]
    return _compare(_grid(settings, systems, places), of_regime(scores, "incomplete"), settings, paper, trainings)


def table_4(
    scores: pd.DataFrame, settings: ReportSettings, paper: pd.DataFrame, trainings: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return every uni-modal system under the reference noise, and on clean data if that was run.

    Columns as :func:`table_2`. Noisy rows have the condition ``none``, clean ones ``avl``, an empty noise kind and no
    SNR. Systems are trained on equally noisy data or, if the experiment sets it, once on clean data. Source: SPEC 4.7,
    6.3.
    """
    noisy = of_regime(scores, "all_noisy")
    clean = scores[(scores["regime"] == "clean") & (scores["condition"] != ALL_NOISY)]
    cells = pd.concat([noisy[noisy["condition"] == ALL_NOISY], clean])
    grid = _grid(settings, settings.unimodal_systems, settings.unimodal_places)
    return _compare(grid, cells, settings, paper, trainings)


def table_5(
    scores: pd.DataFrame, settings: ReportSettings, paper: pd.DataFrame, trainings: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return every system trained and tested with all modalities noisy (MEN: trained clean) under the reference noise.

    Columns as :func:`table_2`.
    """
    places = [(noise, snr_db, ALL_NOISY) for noise, snr_db in settings.all_noisy_levels]
    return _compare(
        _grid(settings, settings.multimodal_systems, places), of_regime(scores, "all_noisy"), settings, paper, trainings
    )


SCORE_TABLES = {2: table_2, 3: table_3, 4: table_4, 5: table_5}


def _sizes(report: dict[str, Any], about: DatasetSettings) -> dict[str, int]:
    fold = report["folds"][0]
    counts = report["class_counts"]
    if len(report["folds"]) == 1:
        counts = {name: sum(fold[split]["class_counts"].get(name, 0) for split in ("train", "test")) for name in counts}
    possible = incomplete_conditions(about.modalities)
    conditions = 1 if about.evaluation == ONE_CONDITION else max(1, len(possible))
    return {
        **{name: counts[name] for name in report["classes"]},
        "train size": fold["train"]["utterances"],
        "test size": fold["test"]["utterances"] * conditions,
    }


def _grid(settings: ReportSettings, systems: list[str], places: list[tuple[str, float | None, str]]) -> pd.DataFrame:
    rows = []
    for dataset, system, place, metric in product(settings.datasets, systems, places, settings.metrics):
        noise, snr_db, condition = place
        own = settings.dataset(dataset).modalities
        if condition == ALL_CLEAN:
            condition = all_clean(own)
        elif condition in SIX_CONDITIONS and condition not in settings.incomplete(own):
            continue
        rows.append((dataset, system, noise, snr_db, condition, metric))
    return with_snr(pd.DataFrame(rows, columns=list(KEY)))


def _compare(
    grid: pd.DataFrame,
    scores: pd.DataFrame,
    settings: ReportSettings,
    paper: pd.DataFrame,
    trainings: pd.DataFrame | None,
) -> pd.DataFrame:
    """Add scores, the paper's values and marks to the cells of ``grid``."""
    names = {dataset: about.paper_name for dataset, about in settings.datasets.items()}
    # Match by plain tuples, in which a missing SNR or dataset is an ordinary value.
    published = dict(zip(_keys(in_our_names(paper)), paper["value"], strict=True))
    if settings.conditions:  # our average is over fewer conditions than the paper's
        published = {place: value for place, value in published.items() if AVERAGE not in place}
    paper_keys = _keys(grid.assign(dataset=grid["dataset"].map(names.get)))
    # Average only the systems of the table, so that incomplete scores of others raise no error.
    measured = with_snr(average(scores[scores["system"].isin(grid["system"])]))
    table = merged_by_level(grid, with_marks(measured, trainings).drop(columns="regime"), list(KEY), "left")
    table["n"] = table["n"].astype("Int64")
    table["paper"] = pd.Series([published.get(place) for place in paper_keys], dtype="float64")
    # Drop cells that were neither run nor published. A cell that was run may be undefined.
    table = table[table["n"].notna() | table["paper"].notna()].reset_index(drop=True)
    return _with_difference(table, "mean", settings)[list(COLUMNS)]


def _keys(table: pd.DataFrame) -> list[tuple[Any, ...]]:
    rows = zip(*(table[column] for column in KEY), strict=True)
    return [tuple(None if pd.isna(value) else value for value in row) for row in rows]


def _with_difference(table: pd.DataFrame, column: str, settings: ReportSettings) -> pd.DataFrame:
    synthetic = [name for name, about in settings.datasets.items() if about.synthetic]
    difference = table[column] - table["paper"]
    # Synthetic data only share the layout of the paper's corpora, so a difference would be meaningless.
    return table.assign(difference=difference.mask(table["dataset"].isin(synthetic)))
