"""Progress of a running training: one log line per epoch, and a growing history next to the checkpoint.

``nmer.plan.running`` reads this history. The final history, used for results, is written by train.py at the end.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nmer.errors import DataError
from nmer.files import read_table_rows, write_rows
from nmer.plan.running import followed_metric


class LiveHistory:
    """The growing history of a job: one row per repeat and epoch. Repeats may be trained one after another."""

    def __init__(self, path: Path, resumed: Sequence[dict[str, Any]], repeats: Sequence[int]) -> None:
        """path: CSV to append to. resumed: rows of the checkpoint from which these repeats continue.

        Rows of these repeats that are newer than the checkpoint are dropped, because their epochs are trained again.
        """
        self._path = path
        rows = [row for row in _rows_of_others(path, repeats) if not resumed or list(row) == list(resumed[0])]
        path.unlink(missing_ok=True)
        if rows or resumed:
            write_rows(path, [*rows, *resumed])

    def append(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add the rows of one epoch."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not self._path.exists()
        with self._path.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
            if is_new:
                writer.writeheader()
            writer.writerows(rows)


def log_epoch(rows: Sequence[dict[str, Any]], epochs: int) -> None:
    """Log an epoch in one line: its number, and per repeat the training loss and the validation UA or MAE."""
    noun = "repeat" if len(rows) == 1 else "repeats"
    metric = followed_metric(rows[0])
    repeats, losses, scores = (
        ", ".join(texts)
        for texts in zip(
            *((str(row["repeat"]), f"{row['loss']:.4f}", f"{row[f'val_{metric}']:.4f}") for row in rows), strict=True
        )
    )
    line = f"epoch {rows[0]['epoch']} of {epochs}, {noun} {repeats}: loss {losses}; validation {metric} {scores}"
    print(line, file=sys.stderr, flush=True)


def _rows_of_others(path: Path, repeats: Sequence[int]) -> list[dict[str, str]]:
    """Return complete rows of other repeats; none if the file is damaged, because training does not need it."""
    try:
        rows = read_table_rows(path)
    except DataError:
        return []
    return [row for row in rows if row.get("repeat") not in set(map(str, repeats))]
