"""What a partial report is drawn from: the arguments of each drawing step, as far as there is something to draw."""

from __future__ import annotations

from pathlib import Path

from nmer.plan.paths import RESULTS
from nmer.plan.plan import Plan


def figure_data(plan: Plan, folder: Path, kind: str, dataset: str) -> list[str | Path]:
    """The arguments that a figure is drawn from; none if nothing of it is there yet."""
    settings, statistics = ["--settings", plan.tables_settings()], folder / "statistics"
    about = [*settings, "--dataset", dataset]
    chance: list[str | Path] = ["--chance", statistics / plan.chance().name]
    calibration = RESULTS / "calibration" / f"{dataset}.csv"
    histories = [path for path in plan.histories(dataset) if path.exists()] if kind == "training" else []
    panels = [panel for panel in plan.panels(dataset) if Path(f"{panel}_distances.csv").exists()] if dataset else []
    points, distances = ([f"{panel}_{part}.csv" for panel in panels] for part in ("points", "distances"))
    arguments: dict[str, list[str | Path]] = {
        "robustness": [*settings, "--intervals", statistics / "intervals.csv", *chance],
        "ranks": ["--ranks", statistics / "ranks.csv"],
        "conditions": [*about, "--scores", folder / "scores.csv", *chance],
        "recall": [*about, "--confusion", statistics / "confusion.csv"],
        "confusion": [*about, "--confusion", statistics / "confusion.csv"],
        "training": [*about, *chance, "--histories", *histories] if histories else [],
        "figure3": ["--points", *points, "--distances", *distances] if panels else [],
        "calibration": ["--schedule", plan.schedule_settings(), "--calibration", calibration]
        if calibration.exists()
        else [],
    }
    return arguments[kind]
