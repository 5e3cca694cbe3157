"""Run times of jobs, from the benchmark files of Snakemake."""

from __future__ import annotations

import csv
from pathlib import Path


def seconds_of(benchmark: Path) -> float | None:
    """Return the wall time of a job from its benchmark; None if there is none, or if it is incomplete."""
    try:
        with benchmark.open(newline="", encoding="utf-8") as stream:
            return float(next(csv.DictReader(stream, delimiter="\t"))["s"])
    except (OSError, StopIteration, KeyError, TypeError, ValueError):
        return None
