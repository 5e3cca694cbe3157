"""Trainings in progress, read from the experiment's checkpoint folder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nmer.errors import DataError
from nmer.files import read_json, read_table_rows, write_json
from nmer.metrics import SELECTING
from nmer.names import CLASSES

LIVE_HISTORY = "live_history.csv"
"""History with a row per repeat and epoch, appended as epochs end."""

ABOUT = "job.json"
"""Description of the job, written when it starts or resumes."""


@dataclass(frozen=True)
class Running:
    """A training in progress.

    history: the file that it will write. live: the file of its rows so far. epochs, repeats: totals. rows: number done.
    metric: the one that is shown. reached: epoch and value of the metric, per repeat that has one. seconds_per_row:
    since its last start; None before its first epoch. idle: seconds since its last epoch, or its start.
    """

    history: Path
    live: Path
    epochs: int
    repeats: int
    rows: int
    metric: str
    reached: dict[int, tuple[int, float]]
    seconds_per_row: float | None
    idle: float

    @property
    def total_seconds(self) -> float | None:
        """Estimated time of the whole job in seconds."""
        return None if self.seconds_per_row is None else self.seconds_per_row * self.epochs * self.repeats

    @property
    def seconds_left(self) -> float | None:
        """Estimated time to the end of the job in seconds."""
        left = self.epochs * self.repeats - self.rows
        return None if self.seconds_per_row is None else self.seconds_per_row * left


def announce(folder: Path, history: Path, epochs: int, repeats: int) -> None:
    """Record in the checkpoint folder of a training that it has started. history: the file that it will write."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {"history": str(history), "epochs": epochs, "repeats": repeats, "rows": len(_rows(folder / LIVE_HISTORY))}
    write_json(folder / ABOUT, about)


def forget(checkpoints: Path, history: Path) -> None:
    """Remove the progress of a finished training, and of its earlier attempts with other settings or inputs.

    checkpoints: the folder of an experiment. history: the file that the training has written.
    """
    for about in checkpoints.glob(f"*/{ABOUT}"):
        try:
            same = read_json(about).get("history") == str(history)
        except DataError:
            continue  # another training is being replaced meanwhile
        if same:
            shutil.rmtree(about.parent, ignore_errors=True)


def running(checkpoints: Path) -> list[Running]:
    """Return the trainings in progress by the path of their history; if one was started several times, the latest.

    checkpoints: the folder of an experiment. Stopped trainings are included, because they are resumed.
    """
    found: dict[Path, Running] = {}
    for about in checkpoints.glob(f"*/{ABOUT}"):
        try:
            job = _read(about)
        except (DataError, KeyError, ValueError, OSError):
            continue  # the training ended or was replaced meanwhile
        if job.history not in found or job.idle < found[job.history].idle:
            found[job.history] = job
    return [found[path] for path in sorted(found) if not path.exists()]


def followed_metric(row: Mapping[str, object]) -> str:
    """Return the metric to show for a training: the one that selects epochs by default. row: of a history."""
    return next((metric for metric in SELECTING.values() if f"val_{metric}" in row), SELECTING[CLASSES])


def _read(about: Path) -> Running:
    job, live = read_json(about), about.with_name(LIVE_HISTORY)
    rows, started = _rows(live), about.stat().st_mtime
    latest = max(started, live.stat().st_mtime) if rows else started
    new = len(rows) - int(job["rows"])
    metric = followed_metric(rows[0]) if rows else ""
    return Running(
        history=Path(job["history"]),
        live=live,
        epochs=int(job["epochs"]),
        repeats=int(job["repeats"]),
        rows=len(rows),
        metric=metric,
        reached={int(row["repeat"]): (int(row["epoch"]), float(row[f"val_{metric}"])) for row in rows},
        seconds_per_row=(latest - started) / new if new > 0 else None,
        idle=max(time.time() - latest, 0.0),
    )


def _rows(live: Path) -> list[dict[str, str]]:
    return read_table_rows(live) if live.exists() else []
