"""Lay out Tables 1 to 5 in the paper's arrangement. Neither computes numbers nor formats them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from nmer.metrics import METRICS
from nmer.names import (
    ALL_CLEAN,
    ALL_NOISY,
    AVERAGE,
    SCORE,
    SIX_CONDITIONS,
    UNIMODAL_SYSTEMS,
    all_clean,
)
from nmer.references.registry import CONSTANT, REFERENCES
from nmer.report_settings import ReportSettings
from nmer.results.labels import MODALITY_LABELS, noise_label, rate_of, system_label
from nmer.results.printed import Cell, Grid, PrintedTable
from nmer.results.reading import rows_of
from nmer.results.tables import KEY, TABLE_3_SYSTEM
from nmer.results.wording import (
    ABSENT,
    AT_CHANCE,
    UNDEFINED,
    WA_AT_MAJORITY,
    dataset_title,
    decibels,
    level_label,
    level_title,
    signed,
)

CAPTIONS = {
    1: "Table 1. Classes and sizes of the datasets.",
    2: "Table 2. {metrics}, averaged over {conditions}.",
    3: "Table 3. NMER in each condition, named by its clean modalities (a acoustic, v visual, l lexical).",
    4: "Table 4. Uni-modal systems under noise. {metrics}.",
    5: "Table 5. {metrics} with all modalities noisy.",
}
CHANCE_NOTE = (
    f"{AT_CHANCE} k/n: k of n trainings are at chance (at least 99 % of the predictions are one class, or the 95 % "
    "interval of UA reaches 1 / classes). Under strong noise this can be the best possible result."
)
SCORE_CHANCE_NOTE = (
    f"{AT_CHANCE} k/n: k of n trainings are at chance (MAE not below that of the median of the training scores, or "
    "predictions that are constant in a condition). Under strong noise this can be the best possible result."
)
UNDEFINED_NOTE = f"{ABSENT} {UNDEFINED}: the correlation is undefined because predictions of a training are constant."
MAJORITY_NOTE = f"{WA_AT_MAJORITY} k/n: in k of n trainings WA does not exceed the share of the largest class."
SCORE_SIZES_NOTE = "Sizes are those of fold 1; a test utterance counts once per condition it is tested under."
SIZES_NOTE = f"Classes are counted over all data, or over the train and test splits if fixed. {SCORE_SIZES_NOTE}"


def arrange(number: int, table: pd.DataFrame, settings: ReportSettings) -> PrintedTable:
    """Lay out a tidy table as in the paper.

    number: 1 to 5. table: from the function with this number in ``nmer.results.tables``.
    Datasets without cells are left out.
    """
    if number == 1:
        grids, note = _sizes(table, settings), SCORE_SIZES_NOTE if settings.target == SCORE else SIZES_NOTE
    else:
        layout = {2: _layout_2, 3: _layout_3, 4: _layout_4, 5: _layout_5}[number]
        grids, note = _score_grids(table, settings, layout(settings)), " ".join(_score_notes(number, table, settings))
    note = " ".join(part for part in (note, *_paper_notes(table, settings)) if part)
    caption = CAPTIONS[number].format(metrics=_named_metrics(settings), conditions=settings.averaged_over)
    return PrintedTable(number, caption, note, tuple(grids))


def _named_metrics(settings: ReportSettings) -> str:
    """Return the names of the metrics, e.g. ``Weighted accuracy (WA) and unweighted accuracy (UA)``."""
    names = [f"{METRICS[name].label} ({name})" for name in settings.metrics]
    listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    return listed[0].upper() + listed[1:]


def _sizes(table: pd.DataFrame, settings: ReportSettings) -> list[Grid]:
    grids = []
    for dataset, rows in table.groupby("dataset", sort=False):
        cells = []
        for row in rows_of(rows):
            paper = ABSENT if pd.isna(row.paper) else f"{row.paper:,}"
            difference = ABSENT if pd.isna(row.difference) else signed(row.difference, digits=0)
            cells.append(((row.quantity,), (Cell(f"{row.value:,}"), Cell(paper), Cell(difference))))
        heads = (("Here", 1), ("Paper", 1), ("Difference", 1))
        grids.append(
            Grid(dataset_title(str(dataset), settings.datasets[str(dataset)]), ("Quantity",), (heads,), tuple(cells))
        )
    return grids


class Arrangement(NamedTuple):
    """The layout of a table. stubs, header: as in Grid. rows: labels and key of each row. columns: their keys.

    A key is a part of KEY with values; the keys of a row and a column form a complete one, except for the dataset.
    """

    stubs: tuple[str, ...]
    header: tuple[tuple[tuple[str, int], ...], ...]
    rows: Sequence[tuple[tuple[str, ...], dict[str, Any]]]
    columns: Sequence[dict[str, Any]]


def _layout_2(settings: ReportSettings) -> Arrangement:
    run = [(noise, snr_db) for noise in settings.snr_db for snr_db in settings.levels(noise)]
    places = sorted(run, key=lambda place: _order(*place))
    widths = Counter(level_label(noise, snr_db) for noise, snr_db in places)
    header = (
        tuple((level, width * len(settings.metrics)) for level, width in widths.items()),
        tuple((noise_label(noise), len(settings.metrics)) for noise, _ in places),
        tuple((metric, 1) for _ in places for metric in settings.metrics),
    )
    columns = [
        {"snr_db": snr_db, "noise": noise, "metric": metric, "condition": AVERAGE}
        for noise, snr_db in places
        for metric in settings.metrics
    ]
    return Arrangement(("System",), header, _system_rows(settings), columns)


def _order(noise: str, snr_db: float | None) -> tuple[int, float]:
    """Return the place of a level: SNRs from the highest, rates from the lowest, then kinds without a level."""
    rate = rate_of(noise)
    if snr_db is not None:
        return 0, -snr_db
    return (2, 0) if rate is None else (1, rate)


def _layout_3(settings: ReportSettings) -> Arrangement:
    header = ((*((condition, 1) for condition in SIX_CONDITIONS), ("Avg.", 1)),)
    rows = [
        (
            (_level_head(noise, snr_db), metric),
            {"system": TABLE_3_SYSTEM, "noise": noise, "snr_db": snr_db, "metric": metric},
        )
        for noise, snr_db in settings.reference_levels
        for metric in settings.metrics
    ]
    columns = [{"condition": condition} for condition in (*SIX_CONDITIONS, AVERAGE)]
    return Arrangement((_levels_stub(settings), "Metric"), header, rows, columns)


def _layout_4(settings: ReportSettings) -> Arrangement:
    systems = settings.unimodal_systems
    header = (
        tuple((MODALITY_LABELS[UNIMODAL_SYSTEMS[system]], len(settings.metrics)) for system in systems),
        tuple((metric, 1) for _ in systems for metric in settings.metrics),
    )
    rows = [
        (
            ("clean" if condition == ALL_CLEAN else _level_head(noise, snr_db),),
            {"noise": noise, "snr_db": snr_db, "condition": condition},
        )
        for noise, snr_db, condition in settings.unimodal_places
    ]
    columns = [{"system": system, "metric": metric} for system in systems for metric in settings.metrics]
    return Arrangement((_levels_stub(settings),), header, rows, columns)


def _layout_5(settings: ReportSettings) -> Arrangement:
    places = settings.all_noisy_levels
    header = (
        tuple((_level_head(noise, snr_db), len(settings.metrics)) for noise, snr_db in places),
        tuple((metric, 1) for _ in places for metric in settings.metrics),
    )
    columns = [
        {"snr_db": snr_db, "noise": noise, "metric": metric, "condition": ALL_NOISY}
        for noise, snr_db in places
        for metric in settings.metrics
    ]
    return Arrangement(("System",), header, _system_rows(settings), columns)


def _levels_stub(settings: ReportSettings) -> str:
    return "SNR" if settings.snr_db[settings.reference_noise] else "Noise"


def _level_head(noise: str, snr_db: float | None) -> str:
    """Return the header of a level of the reference noise: its SNR, or the kind, with its rate if it has one."""
    return level_title(noise, None) if snr_db is None else decibels(snr_db)


def _system_rows(settings: ReportSettings) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    return [((system_label(system),), {"system": system}) for system in settings.multimodal_systems]


def _score_grids(table: pd.DataFrame, settings: ReportSettings, arrangement: Arrangement) -> list[Grid]:
    stubs, header, rows, columns = arrangement
    best = _best(table)
    cells = {_place(row): _score_cell(row, best=row.Index in best) for row in rows_of(table)}
    grids = []
    for dataset, about in settings.datasets.items():
        body = []
        foreign = set(SIX_CONDITIONS) - set(settings.incomplete(about.modalities))
        numbers = [number for number, column in enumerate(columns) if column.get("condition") not in foreign]
        for labels, row in rows:
            named = {"dataset": dataset} | row
            if named.get("condition") == ALL_CLEAN:
                named["condition"] = all_clean(about.modalities)
            places = [tuple((named | columns[number])[name] for name in KEY) for number in numbers]
            if any(place in cells for place in places):
                body.append((labels, tuple(cells.get(place, Cell()) for place in places)))
        # Only headers of conditions are omitted; they are one column wide.
        heads = header if len(numbers) == len(columns) else (tuple(header[0][number] for number in numbers),)
        if body:
            grids.append(Grid(dataset_title(dataset, about), stubs, heads, tuple(body)))
    return grids


def _place(row: Any) -> tuple[Any, ...]:
    return tuple(None if pd.isna(getattr(row, name)) else getattr(row, name) for name in KEY)


def _best(table: pd.DataFrame) -> set[int]:
    """Return the rows with the best mean, as printed, among the systems compared at their level.

    Systems are in rows, so this is the best of a column; in Table 4 they are in columns. Cells with a training at
    chance and constant predictions are excluded, also if they are equal to the best.
    """
    run = table[table["mean"].notna()]
    # Signed so that higher is better.
    printed = run["mean"].round(4) * [1 if METRICS[name].higher_is_better else -1 for name in run["metric"]]
    column = [run[name] for name in KEY if name != "system"]
    learnt = ~_at_chance(run) & ~run["system"].isin(CONSTANT)
    highest = printed.where(learnt).groupby(column, dropna=False).transform("max")
    compared = run.groupby([name for name in KEY if name != "system"], dropna=False)["system"].transform("size")
    return set(run.index[learnt & (printed == highest) & (compared > 1)])


def _score_cell(row: Any, *, best: bool) -> Cell:
    return Cell(
        value=ABSENT if pd.isna(row.mean) else f"{row.mean:.4f}".replace("-", "−"),
        spread="" if pd.isna(row.std) else f"± {row.std:.4f}",
        paper="" if pd.isna(row.paper) else f"{row.paper:.4f}",
        difference="" if pd.isna(row.difference) else signed(row.difference),
        best=best,
        mark=_mark(row),
    )


def _at_chance(table: pd.DataFrame) -> pd.Series:
    """Select rows of a score table whose cell has a training at chance."""
    return (table["at_chance"].fillna(0) > 0).astype(bool)


def _mark(row: Any) -> str:
    """Return the marks of a cell and their numbers of trainings, e.g. ``† 1/2``; the second mark applies only to WA."""
    signs = [(AT_CHANCE, row.at_chance)] + [(WA_AT_MAJORITY, row.wa_at_majority)] * (row.metric == "WA")
    marks = [f"{sign} {count}/{row.trainings}" for sign, count in signs if not pd.isna(count) and count > 0]
    return " ".join([UNDEFINED] * _is_undefined(row) + marks)


def _is_undefined(row: Any) -> bool:
    """Whether a cell was run, but its metric is undefined."""
    return bool(pd.isna(row.mean) and not pd.isna(row.n))


def _score_notes(number: int, table: pd.DataFrame, settings: ReportSettings) -> list[str]:
    notes = [_spread_note(table)]
    if number == 4 and (table["noise"] == "").any():
        notes.append("Clean: trained and tested without noise, for reference; not in the paper.")
    marked = _at_chance(table[table["mean"].notna()]).any()
    if _best(table):
        best = "best modality of its row and metric" if number == 4 else "best of its column"
        notes.append(f"Bold: {best}{f' among the cells without {AT_CHANCE}' if marked else ''}.")
        if table["system"].isin(CONSTANT).any():
            notes.append("A constant prediction is never bold.")
    if marked:
        notes.append(SCORE_CHANCE_NOTE if settings.target == SCORE else CHANCE_NOTE)
    if (table["wa_at_majority"].fillna(0) > 0).any():
        notes.append(MAJORITY_NOTE)
    if any(_is_undefined(row) for row in rows_of(table)):
        notes.append(UNDEFINED_NOTE)
    if lower := [name for name in settings.metrics if not METRICS[name].higher_is_better]:
        notes.append(f"Lower is better for {' and '.join(lower)}.")
    return notes


def _spread_note(table: pd.DataFrame) -> str:
    is_reference = table["system"].isin(REFERENCES)
    repeats = sorted({int(n) for n in table.loc[~is_reference, "n"].dropna()})
    once = " References are deterministic and trained once." if is_reference.any() else ""
    if not repeats:
        return once.strip()
    if repeats == [1]:
        return f"One repeat, so no standard deviation.{once}"
    return f"Mean ± standard deviation over {' or '.join(map(str, repeats))} repeats.{once}"


def _paper_notes(table: pd.DataFrame, settings: ReportSettings) -> list[str]:
    datasets = set(table.loc[table["paper"].notna(), "dataset"])
    synthetic = {name for name in datasets if settings.datasets[name].synthetic}
    notes = []
    if settings.conditions and "condition" in table and (table["condition"] == AVERAGE).any():
        notes.append(
            f"Only the incomplete conditions {', '.join(settings.conditions)} were scored, so the paper's averages, "
            "which are over all of them, are not shown."
        )
    if datasets and "mean" in table:
        notes.append("In parentheses: the paper's value" + (", difference." if datasets - synthetic else "."))
    if synthetic:
        notes.append("Synthetic data cannot be compared with the paper, so they have no difference.")
    return notes
