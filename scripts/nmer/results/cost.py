"""Cost of an experiment: jobs and hours per stage, from the benchmark files that Snakemake writes for every job."""

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
"""Folders shared by experiments on the same data, and their stages."""
OWN = {"teachers": "pretraining", "runs": "training", "scores": "evaluation"}
STAGES = ("extraction", "features", "noise", "pretraining", "training", "evaluation", "results")


def read_cost(folder: str | Path, experiment: str, datasets: Iterable[str]) -> list[tuple[str, int, float]]:
    """Return rows (stage, jobs, hours) and their sum; empty if there is no benchmark.

    folder: ``results/benchmarks``. Of the shared stages, only the jobs of ``datasets`` count. Hours are summed over
    jobs. A file that is missing or cannot be read does not count.
    """
    folder, names = Path(folder), set(datasets)
    times = [
        (OWN.get(path.relative_to(folder).parts[1], "results"), path) for path in folder.glob(f"{experiment}/**/*.tsv")
    ]
    for place, stage in SHARED.items():
        paths = folder.glob(f"{place}/**/*.tsv")
        times += [(stage, path) for path in paths if names & {path.stem, *path.relative_to(folder / place).parts[:-1]}]
    spent = [(stage, seconds) for stage, path in times if (seconds := seconds_of(path)) is not None]
    rows = [
        (stage, len(of_stage), sum(of_stage) / 3600)
        for stage in STAGES
        if (of_stage := [seconds for name, seconds in spent if name == stage])
    ]
    return [*rows, ("all", len(spent), sum(seconds for _stage, seconds in spent) / 3600)] if rows else []
