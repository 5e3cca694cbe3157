"""Lay out the comparisons of the reference system with every other one: differences, intervals, significance."""

from __future__ import annotations

from typing import Any

import pandas as pd

from nmer.metrics import METRICS
from nmer.names import ALL_NOISY, AVERAGE, CLASSES, SCORE
from nmer.references.registry import REFERENCES
from nmer.report_settings import ReportSettings
from nmer.results.labels import system_label
from nmer.results.printed import Cell, Grid, PrintedTable
from nmer.results.reading import SNR, read_columns, rows_of
from nmer.results.wording import AT_CHANCE, UNDEFINED, condition_title, dataset_title, level_title, short_title, signed

_PRINTED = {
    **dict.fromkeys(("dataset", "noise", "condition", "metric", "system"), "str"),
    "snr_db": SNR,
    **dict.fromkeys(("difference", "low", "high", "p_adjusted"), "float64"),
    **dict.fromkeys(("trainings", "at_chance", "reference_trainings", "reference_at_chance"), "Int64"),
    **dict.fromkeys(("units", "untested"), "str"),
}
SIGNIFICANT = 0.05
LINEAR = {CLASSES: "logistic_regression", SCORE: "ridge"}
"""Target -> the linear reference row."""
CAPTION = "{reference} minus each other system."
NOTE = (
    "In brackets: 95 % intervals of the difference on the same utterances, for new test material and trainings. Bold: "
    "significantly different from zero (p < 0.05 after Holm's correction over all systems, noise kinds and levels of "
    "the same dataset, conditions and metric)."
)
CHANCE_NOTE = (
    f"{AT_CHANCE} k/n: k of n trainings of the system or, after its name, of {{reference}} are at chance; the "
    "difference is then never bold, because one of the systems has learnt nothing."
)


def read_comparisons(path: str) -> pd.DataFrame:
    """Read the comparisons of compare_systems.py. Raises DataError if the file is missing or damaged."""
    return read_columns(path, _PRINTED)


def arrange_comparisons(table: pd.DataFrame, settings: ReportSettings) -> PrintedTable:
    """Lay out comparisons: a grid per dataset and set of conditions, systems in rows, noise and level in columns."""
    reference, grids = system_label(settings.reference_system), []
    for dataset, about in settings.datasets.items():
        for condition in (AVERAGE, ALL_NOISY):
            part = table[(table["dataset"] == dataset) & (table["condition"] == condition)]
            if len(part):
                title = f"{dataset_title(dataset, about)}, {condition_title(condition)}"
                grids.append(_grid(part, settings, title))
    lower = [name for name in settings.metrics if not METRICS[name].higher_is_better]
    notes = [
        NOTE,
        *([f"Lower is better for {' and '.join(lower)}: a negative difference favours {reference}."] if lower else []),
        *_designs(table, settings),
        *([CHANCE_NOTE.format(reference=reference)] if _at_chance(table).any() else []),
    ]
    note = " ".join(notes)
    return PrintedTable(0, CAPTION.format(reference=reference), note, tuple(grids))


def summary(table: pd.DataFrame, settings: ReportSettings) -> list[str]:
    """Return a sentence per dataset: how many comparisons on the incomplete conditions the reference wins or loses."""
    sentences, metric, reference = [], settings.metrics[0], system_label(settings.reference_system)
    for dataset, about in settings.datasets.items():
        part = table[(table["dataset"] == dataset) & (table["condition"] == AVERAGE) & (table["metric"] == metric)]
        if part.empty:
            continue
        at_chance = _at_chance(part)
        certain = _gain(part[(part["p_adjusted"] < SIGNIFICANT) & ~at_chance]["difference"], metric)
        title = dataset_title(dataset, about)
        untested = int(part["p_adjusted"].isna().sum())
        if untested == len(part):
            sentences.append(f"{title}: no difference is tested ({part['untested'].iloc[0]}).")
            continue
        aside = f" {_are(untested)} not tested." if untested else ""
        uncounted = int(at_chance.sum())
        aside += f" {_are(uncounted)} not counted because one of the two is at chance." if uncounted else ""
        other = "another system or reference" if part["system"].isin(REFERENCES).any() else "another system"
        sentences.append(
            f"{title}: of {len(part)} comparisons of {reference} with {other} in {metric}, over the "
            f"incomplete conditions, {(certain > 0).sum()} are won and {(certain < 0).sum()} lost significantly.{aside}"
        )
        sentences += _linear_ahead(table[table["dataset"] == dataset], title, settings)
    return sentences


def _are(count: int) -> str:
    return f"{count} {'is' if count == 1 else 'are'}"


def _linear_ahead(of_dataset: pd.DataFrame, title: str, settings: ReportSettings) -> list[str]:
    """Return how often the linear reference row beats the reference system and every system; empty without it."""
    counts, linear = [], LINEAR[settings.target]
    for metric in settings.metrics:
        part = of_dataset[(of_dataset["condition"] == AVERAGE) & (of_dataset["metric"] == metric)]
        # Differences are the reference minus a system, so smaller is better for the system.
        part = part.assign(difference=_gain(part["difference"], metric))
        wide = part.pivot_table(index=["noise", "snr_db"], columns="system", values="difference", dropna=False)
        if linear not in wide:
            return []
        wide = wide.dropna(subset=[linear])
        trained = wide.drop(columns=[name for name in REFERENCES if name in wide])
        over_reference = wide[linear] < 0
        over_all = over_reference & trained.gt(wide[linear], axis=0).where(trained.notna(), True).all(axis=1)
        counts.append(f"{metric}: {over_reference.sum()} of {len(wide)} and {over_all.sum()} of {len(wide)}")
    better = "higher" if settings.target == CLASSES else "better"
    return [
        f"{title}: a {system_label(linear)} on the same noisy features scores {better} than "
        f"{system_label(settings.reference_system)}, and than every system, "
        f"at this many noise kinds and levels over the incomplete conditions: {'; '.join(counts)}."
    ]


def _gain(difference: pd.Series, metric: str) -> pd.Series:
    """Return differences of a metric with positive values for improvements."""
    return difference if METRICS[metric].higher_is_better else -difference


def _designs(table: pd.DataFrame, settings: ReportSettings) -> list[str]:
    """Return sentences per dataset: the units of its variance, and why some differences have no test."""
    sentences = []
    for dataset, about in settings.datasets.items():
        part = table[table["dataset"] == dataset]
        if part.empty:
            continue
        sentences.append(f"{short_title(dataset, about)}: variance over {part['units'].iloc[0]}.")
        for reason, rows in part[part["untested"] != ""].groupby("untested", sort=False):
            sentences.append(f"{len(rows)} of its {len(part)} differences have neither interval nor test ({reason}).")
    return sentences


def _grid(part: pd.DataFrame, settings: ReportSettings, title: str) -> Grid:
    cells = {
        (row.system, row.noise, None if pd.isna(row.snr_db) else row.snr_db, row.metric): _cell(row, settings)
        for row in rows_of(part)
    }
    run = {key[1:3] for key in cells}
    places = [(noise, level) for noise in settings.snr_db for level in settings.levels(noise) if (noise, level) in run]
    header = (
        tuple((level_title(noise, level), len(settings.metrics)) for noise, level in places),
        tuple((metric, 1) for _place in places for metric in settings.metrics),
    )
    rows = [
        (
            (system_label(system),),
            tuple(cells.get((system, *place, metric), Cell()) for place in places for metric in settings.metrics),
        )
        for system in settings.multimodal_systems
        if any(key[0] == system for key in cells)
    ]
    return Grid(title, ("System",), header, tuple(rows))


def _cell(row: Any, settings: ReportSettings) -> Cell:
    interval = "" if pd.isna(row.low) else f"[{signed(row.low)}, {signed(row.high)}]"
    counts = (
        ("", row.at_chance, row.trainings),
        (f"{system_label(settings.reference_system)} ", row.reference_at_chance, row.reference_trainings),
    )
    marks = [f"{AT_CHANCE} {who}{k}/{n}" for who, k, n in counts if not pd.isna(k) and k > 0]
    best = bool(row.p_adjusted < SIGNIFICANT) and not marks
    value = UNDEFINED if pd.isna(row.difference) else signed(row.difference)
    return Cell(value, interval, best=best, mark=" ".join(marks))


def _at_chance(table: pd.DataFrame) -> pd.Series:
    """Select comparisons in which the system or the reference has a training at chance."""
    return (table[["at_chance", "reference_at_chance"]].fillna(0) > 0).any(axis=1).astype(bool)
