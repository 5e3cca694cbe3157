"""Texts on trainings at chance for the report and ``make status``. The definition is in ``chance``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from nmer.names import ALL_CLEAN, ALL_NOISY, AVERAGE, predictions_path
from nmer.report_settings import ReportSettings
from nmer.results.chance import CELL, judge_runs, per_cell, read_trainings
from nmer.results.labels import system_label
from nmer.results.predictions import read_runs
from nmer.results.reading import rows_of
from nmer.results.scores import at_own_level, incomplete, of_regime
from nmer.results.selection import of_table_5
from nmer.results.tables import TABLE_3_SYSTEM
from nmer.results.wording import condition_title, level_title, short_title
from nmer.snr_column import snr_of


def shown_cells(trainings: pd.DataFrame, settings: ReportSettings) -> pd.DataFrame:
    """Return the marks of the cells in Tables 2 to 5, each once. Columns CELL and MARKS.

    trainings: verdicts of ``nmer.results.chance``. settings: those of the tables.
    """
    multimodal, unimodal = settings.multimodal_systems, settings.unimodal_systems
    marks: pd.DataFrame = per_cell(trainings)
    six, noisy = of_regime(marks, "incomplete"), of_regime(marks, "all_noisy")
    of_nmer = (six["system"] == TABLE_3_SYSTEM) & incomplete(six)
    of_nmer &= six["noise"].isin(settings.reference_noises)
    parts = [
        six[six["system"].isin(multimodal) & ((six["condition"] == AVERAGE) | of_nmer)],
        of_table_5(noisy[noisy["system"].isin(multimodal)], settings),
        noisy[noisy["system"].isin(unimodal) & (noisy["condition"] == ALL_NOISY)],
        marks[marks["system"].isin(unimodal) & (marks["regime"] == "clean") & (marks["condition"] != ALL_NOISY)],
    ]
    cells: pd.DataFrame = pd.concat(parts, ignore_index=True).drop_duplicates(list(CELL), ignore_index=True)
    return cells


def warnings(trainings: pd.DataFrame, settings: ReportSettings) -> list[str]:
    """Return one sentence per dataset, noise kind and level with a cell at chance, naming its systems.

    NMER is listed by condition, as in Table 3, with a note that the other systems are not.
    """
    cells = shown_cells(trainings, settings)
    cells = cells[cells["at_chance"] > 0].sort_values("snr_db", ascending=False, kind="stable")
    sentences = []
    for dataset, about in settings.datasets.items():
        of_dataset = cells[cells["dataset"] == dataset]
        for _, rows in of_dataset.groupby(["noise", "snr_db"], dropna=False, sort=False):
            noise, snr_db = rows["noise"].iloc[0], rows["snr_db"].iloc[0]
            level = level_title(noise, snr_of(snr_db)) if noise else "without noise"
            of_nmer = rows["system"] == TABLE_3_SYSTEM
            by_condition = of_nmer & ~rows["condition"].isin([AVERAGE, ALL_NOISY, ALL_CLEAN])
            named = [_by_condition(rows[by_condition])] if by_condition.any() else []
            named += [
                _named(str(condition) if noise else ALL_CLEAN, part)
                for condition, part in rows[~by_condition].groupby("condition", sort=False)
            ]
            sentences.append(f"At chance on {short_title(dataset, about)}, {level}: {'; '.join(named)}.")
    return sentences


def status_line(scores: Iterable[Path], verdicts: Path, settings: ReportSettings) -> str:
    """Return a line on how many of the evaluated cells have a training at chance; empty if none has.

    scores: files of the evaluations. verdicts: the table of ``find_chance.py``, read if it is newer than all of them;
    otherwise the predictions are judged. Raises DataError if a file is damaged.
    """
    existing = [path for path in scores if path.exists() and predictions_path(path).exists()]
    if not existing:
        return ""
    newest = max(path.stat().st_mtime for path in existing)
    is_current = verdicts.exists() and verdicts.stat().st_mtime >= newest
    trainings = read_trainings(verdicts) if is_current else at_own_level(judge_runs(read_runs(existing)))
    cells = shown_cells(trainings, settings)
    at_chance = int((cells["at_chance"] > 0).sum())
    return f"At chance: {at_chance} of the {len(cells)} cells evaluated so far (docs/statistics.md)."


def _named(condition: str, rows: pd.DataFrame) -> str:
    systems = ", ".join(f"{system_label(row.system)} {row.at_chance} of {row.trainings}" for row in rows_of(rows))
    return f"{condition_title(condition)}: {systems}"


def _by_condition(rows: pd.DataFrame) -> str:
    counts = ", ".join(f"{row.condition} {row.at_chance} of {row.trainings}" for row in rows_of(rows))
    return f"by condition, checked for {system_label(TABLE_3_SYSTEM)} only: {counts}"
