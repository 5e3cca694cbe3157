"""What an experiment cost: jobs and hours per stage, from the benchmark files that Snakemake leaves of every job."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nmer.job_times import seconds_of

SHARED = {
    "media": "extraction",
    "extracted": "extraction",
    "features": "features",
    "corpora": "features",
    "calibration": "noise",
    "noisy": "noise",
}
"""Folders that experiments on the same data share, and the stage each belongs to."""
OWN = {"teachers": "pretraining", "runs": "training", "scores": "evaluation"}
STAGES = ("extraction", "features", "noise", "pretraining", "training", "evaluation", "results")


def read_cost(folder: str | Path, experiment: str, datasets: Iterable[str]) -> list[tuple[str, int, float]]:
    """Rows (stage, jobs, hours), then their sum; nothing if there is no benchmark.

    folder: ``results/benchmarks``. Of what experiments share, the jobs of ``datasets`` alone count. Hours are those
    that jobs took one by one. A file that cannot be read, or is not there yet, is no job.
    """
    folder, names = Path(folder), set(datasets)
    found = [
        (OWN.get(path.relative_to(folder).parts[1], "results"), path) for path in folder.glob(f"{experiment}/**/*.tsv")
    ]
    for place, stage in SHARED.items():
        paths = folder.glob(f"{place}/**/*.tsv")
        found += [(stage, path) for path in paths if names & {path.stem, *path.relative_to(folder / place).parts[:-1]}]
    spent = [(stage, seconds) for stage, path in found if (seconds := seconds_of(path)) is not None]
    rows = [
        (stage, len(of_stage), sum(of_stage) / 3600)
        for stage in STAGES
        if (of_stage := [seconds for name, seconds in spent if name == stage])
    ]
    return [*rows, ("all", len(spent), sum(seconds for _stage, seconds in spent) / 3600)] if rows else []
