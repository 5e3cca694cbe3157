"""Progress of an experiment: finished jobs, missing jobs, estimated time left.

Uses only the plan and the files on disk, so it can be called while Snakemake runs. A job counts as finished if its
output exists. Use ``snakemake --dry-run`` to see whether Snakemake would make it again (code, settings).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from nmer.job_times import seconds_of
from nmer.plan.jobs import EXTRACTION, STAGES, Job, jobs
from nmer.plan.plan import Plan
from nmer.plan.running import Running, running


def summary(plan: Plan) -> str:
    """Summarise the progress of an experiment in a few lines for a terminal."""
    all_jobs = jobs(plan)
    trainings = running(plan.folder / "checkpoints")
    expected = expected_seconds(all_jobs, trainings)
    lines = [f"Experiment {plan.name}", "", f"{'stage':<12}{'done':>6}{'of':>6}  {'computed':>12}  {'to compute':>20}"]
    for stage in STAGES:
        of_stage = [job for job in all_jobs if job.stage == stage]
        if of_stage or stage != EXTRACTION:  # few experiments have raw media
            lines.append(_line(stage, of_stage, expected))
    return "\n".join(
        [
            *lines,
            _line("all", all_jobs, expected),
            *_running_lines(trainings, plan),
            "",
            *_outlook(plan, all_jobs, expected),
        ]
    )


def what_is_missing(plan: Plan) -> dict[str, Any]:
    """Describe the unfinished jobs for a partial report.

    Returns ``done`` and ``of`` (numbers of jobs) and ``stages``: a sentence for each incomplete stage.
    """
    all_jobs = jobs(plan)
    sentences = []
    for stage in STAGES:
        of_stage = [job for job in all_jobs if job.stage == stage]
        if waiting := [job for job in of_stage if not job.done]:
            places = dict.fromkeys(" on ".join(filter(None, (job.system, job.dataset))) for job in waiting)
            named = ", ".join(filter(None, places))
            sentences.append(f"{stage}: {len(waiting)} of {len(of_stage)} jobs{f' ({named})' if named else ''}")
    return {"done": sum(job.done for job in all_jobs), "of": len(all_jobs), "stages": sentences}


def expected_seconds(all_jobs: list[Job], trainings: Sequence[Running] = ()) -> dict[Job, float | None]:
    """Estimate the time of each unfinished job in seconds from benchmarks; None if nothing is known.

    The estimate is the job's last run time, else the mean over finished jobs with its rule, dataset and system, else
    with its rule and dataset, else with its rule. For a training in progress (trainings), it is the remaining epochs at
    the current speed. Without benchmarks, trainings in progress also count as jobs of their kind.
    """
    left = {job.history: job.seconds_left for job in trainings}
    totals = {job.history: job.total_seconds for job in trainings}
    known = {
        job: seconds for job in all_jobs if (seconds := seconds_of(job.benchmark) or totals.get(job.output)) is not None
    }
    alike: dict[tuple[str, ...], list[float]] = {}
    for job, seconds in known.items():
        for key in _keys(job):
            alike.setdefault(key, []).append(seconds)
    means = {key: fmean(seconds) for key, seconds in alike.items()}
    return {
        job: left.get(job.output) or known.get(job, next((means[key] for key in _keys(job) if key in means), None))
        for job in all_jobs
        if not job.done
    }


def jobs_at_once(all_jobs: list[Job]) -> float:
    """Return the mean number of concurrent jobs while any ran; 1 if none has run."""
    spans = []
    for job in all_jobs:
        seconds = seconds_of(job.benchmark)
        if job.done and seconds is not None:
            ended = job.benchmark.stat().st_mtime  # Snakemake writes a benchmark when its job ends
            spans.append((ended - seconds, ended))
    covered, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        covered += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return sum(end - start for start, end in spans) / covered if covered else 1.0


def duration(seconds: float) -> str:
    """Format a duration in at most two units, e.g. ``2 h 05 min``, ``7 min 10 s``, ``12 s``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _running_lines(trainings: list[Running], plan: Plan) -> list[str]:
    """Return a line per training in progress: epochs, validation scores, time since the last epoch and time left."""
    if not trainings:
        return []
    lines = ["", "Trainings in progress:"]
    for job in trainings:
        name = job.history.parent.relative_to(plan.folder) if job.history.is_relative_to(plan.folder) else job.history
        reached = [
            f"repeat {repeat} epoch {epoch}/{job.epochs} {job.metric} {score:.4f}"
            for repeat, (epoch, score) in sorted(job.reached.items())
        ]
        at = f"{', '.join(reached)}; last epoch {duration(job.idle)} ago" if reached else "in its first epoch"
        rest = f"; about {duration(job.seconds_left)} left" if job.seconds_left is not None else ""
        lines.append(f"  {name}: {at}{rest}")
    return lines


def _keys(job: Job) -> list[tuple[str, ...]]:
    return [(job.rule, job.dataset, job.system), (job.rule, job.dataset), (job.rule,)]


def _line(name: str, of_stage: list[Job], expected: dict[Job, float | None]) -> str:
    done = [job for job in of_stage if job.done]
    spent = sum(seconds_of(job.benchmark) or 0.0 for job in done)
    waiting = [expected[job] for job in of_stage if job in expected]
    known = [seconds for seconds in waiting if seconds is not None]
    unknown = "unknown" if len(known) < len(waiting) else ""
    to_compute = " + ".join(filter(None, (duration(sum(known)) if known else "", unknown))) or "–"
    return f"{name:<12}{len(done):>6}{len(of_stage):>6}  {duration(spent) if spent else '–':>12}  {to_compute:>20}"


def _outlook(plan: Plan, all_jobs: list[Job], expected: dict[Job, float | None]) -> list[str]:
    if not expected:
        return [f"Everything has finished: {plan.folder / 'report.html'}"]
    if all(seconds is None for seconds in expected.values()):
        return ["Time left: unknown until a similar job has finished."]
    lines = []
    if left := sum(filter(None, expected.values())):
        at_once = jobs_at_once(all_jobs)
        lines.append(f"Time left: about {duration(left / at_once)}, with {at_once:.1f} concurrent jobs, as so far.")
    unknown = Counter(job.rule for job, seconds in expected.items() if seconds is None)
    if unknown:
        named = ", ".join(f"{rule} {count}" for rule, count in unknown.items())
        lines.append(f"Not included, because no job of these rules has finished: {named}.")
    return lines
