"""The steps of a partial report with their arguments, for the sources that exist."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from nmer.files import read_table_rows, write_rows
from nmer.plan.paths import LEVELS, RESULTS, SIZES_TABLE
from nmer.plan.plan import REFERENCE, Plan, source_arguments
from nmer.plan.running import running


def figure_step(plan: Plan, name: str, folder: Path) -> tuple[list[str], str] | None:
    """Return the arguments of the step that draws a figure, and its code; None if one of its sources has no file.

    folder: the folder of the partial report, with its scores, its statistics and copies of the histories in progress.
    """
    planned = plan.figure_sources(plan.drawings[name], folder)
    if histories := planned.get("histories"):
        copies = [(path, folder / path.relative_to(plan.folder)) for path in histories]
        planned["histories"] = [path if path.exists() else copy for path, copy in copies]
    existing = {source: [file for file in files if file.exists()] for source, files in planned.items()}
    if any(planned[source] and not files for source, files in existing.items()):
        return None
    w: Any = SimpleNamespace(figure=name)
    return ["--settings", plan.figure_settings(w), *source_arguments(existing)], plan.code("draw_figure.py", w)


def copy_histories(plan: Plan, folder: Path) -> list[Path]:
    """Copy the complete rows of every training in progress to its history below ``folder``. Returns the copies."""
    copies = []
    for job in running(plan.folder / "checkpoints"):
        if job.rows and job.history.is_relative_to(plan.folder):
            copies.append(folder / job.history.relative_to(plan.folder))
            write_rows(copies[-1], read_table_rows(job.live))
    return copies


def table_steps(plan: Plan, folder: Path, reports: list[Path]) -> dict[Path, list[object]]:
    """Return the step that makes each table and its arguments, by the stem of the table's files below ``folder``.

    reports: of the datasets that have been read. A sweep has a table once all folds of a training have finished.
    """
    scores: list[object] = ["--scores", folder / "scores.csv"]
    chance: list[object] = ["--chance", folder / "statistics" / plan.chance().name]
    steps: dict[Path, list[object]] = {}
    for number, stem in zip(plan.tables, plan.table_stems(), strict=True):
        if number == SIZES_TABLE:
            settings, source = plan.sizes_settings(path.stem for path in reports), ["--reports", *reports]
        else:
            settings, source = plan.table_settings(number), [*scores, *chance]
        steps[stem] = ["make_table.py", "--table", number, "--settings", settings, *source, "--reference", REFERENCE]
    for stem in plan.study_stems():
        if stem.name == LEVELS:
            steps[stem] = ["tabulate_levels.py", "--settings", plan.tables_settings(), *scores, *chance]
        elif histories := _finished(plan.sweep_histories()):
            settings = plan.sweep_settings()
            source = [*scores, *chance, "--histories", *histories]
            steps[stem] = ["tabulate_sweep.py", "--settings", settings, *source]
    return {folder / stem.relative_to(plan.folder): arguments for stem, arguments in steps.items()}


def comparison_steps(plan: Plan, folder: Path) -> dict[str, tuple[Path, list[Path], list[object]]]:
    """Return per compared experiment the stem of the table, the scores of both, and the step with its arguments."""
    steps: dict[str, tuple[Path, list[Path], list[object]]] = {}
    for other, stem in plan.compared().items():
        scores = [RESULTS / other / "scores.csv", folder / "scores.csv"]
        w: Any = SimpleNamespace(other=other)
        arguments = ["compare_with.py", "--settings", plan.compared_settings(w), "--scores", *scores]
        steps[other] = folder / stem.relative_to(plan.folder), scores, arguments
    return steps


def claims_arguments(plan: Plan, folder: Path, drawn: list[Path]) -> list[object]:
    """Return the arguments of the audit of the paper's claims. drawn: stems of the drawn figures."""
    statistics = folder / "statistics"
    distances = [stem.with_suffix(".csv") for stem in drawn if stem.name.startswith("figure3")]
    arguments: list[object] = [
        "--settings",
        plan.scored_settings(4),
        "--contributions",
        statistics / "contributions.h5",
    ]
    paper = ["--claims", REFERENCE / "claims.toml", "--reference", REFERENCE]
    return [*arguments, "--chance", statistics / plan.chance().name, "--distances", *distances, *paper]


def _finished(histories: list[Path]) -> list[Path]:
    """Return the histories of trainings whose folds are all finished, so that all scores are over the same folds."""
    unfinished = {path.parents[1] for path in histories if not path.exists()}
    return [path for path in histories if path.parents[1] not in unfinished]
