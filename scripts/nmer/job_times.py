"""How long a job took, from the benchmark file that Snakemake leaves of it."""

from __future__ import annotations

import csv
from pathlib import Path


def seconds_of(benchmark: Path) -> float | None:
    """Wall time of a job from its benchmark; None if there is none, or if just now it is being written."""
    try:
        with benchmark.open(newline="", encoding="utf-8") as stream:
            return float(next(csv.DictReader(stream, delimiter="\t"))["s"])
    except (OSError, StopIteration, KeyError, TypeError, ValueError):
        return None
