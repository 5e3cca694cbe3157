"""Find results made with settings, code or inputs that differ from the plan, by the provenance records next to them.

Snakemake does the same with its records in ``.snakemake/``, but these are lost when results are copied.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from nmer.digests import digest_path, file_digest, recorded, stated_digest
from nmer.errors import DataError, listed
from nmer.files import read_json, write_json
from nmer.plan.jobs import Job, jobs
from nmer.plan.plan import Plan
from nmer.plan.sources import MEMORY, source_digests

INJECTED = Path(".snakemake/nmer_outdated.json")
"""Outputs that are marked as outdated for Snakemake until they are made again."""


class Metadata(Protocol):
    """Snakemake's records of outputs."""

    def knows(self, output: str) -> bool:
        """Whether there is a record of an output."""

    def mark_outdated(self, output: str) -> None:
        """Record that an output was made with params that are not planned."""

    def unmark(self, output: str) -> None:
        """Remove such a record, unless the output was made again since."""


@dataclass(frozen=True)
class JobFiles:
    """The inputs of a job and the files it made, outputs and benchmark, all of which Snakemake compares by time."""

    inputs: list[str]
    made: list[str]


@dataclass
class Provenance:
    """The result of comparing records of finished jobs with the plan.

    outdated: outputs of each job that differs from the plan. agreeing: the files of the others.
    """

    compared: int = 0
    outdated: list[list[str]] = field(default_factory=list)
    agreeing: list[JobFiles] = field(default_factory=list)
    unrecorded: list[str] = field(default_factory=list)


def update(plan: Plan, metadata: Metadata) -> list[str]:
    """Mark results without Snakemake records as outdated if they differ from the plan, so that they are made again.

    Returns messages for the user on results without provenance in ``.snakemake/``; empty if all have it.
    """
    for output in _injected():
        metadata.unmark(output)
    provenance = compare(plan, metadata.knows)
    outputs = [output for job in provenance.outdated for output in job]
    for output in outputs:
        metadata.mark_outdated(output)
    if outputs or INJECTED.exists():
        write_json(INJECTED, {"outputs": outputs})
    return _sentences(provenance, equalise_times(provenance.agreeing))


def equalise_times(jobs: list[JobFiles]) -> bool:
    """Set the times of all files that jobs made to the newest one if a job has an input newer than one of its files.

    Snakemake compares times if it has no records, and copies may have times in any order. Inputs are compared by
    content here. Returns whether times were changed.
    """
    times = {path: time for job in jobs for path in job.made if (time := _time(path))}
    if not any(_has_newer_input(job, times) for job in jobs):
        return False
    newest = max(times.values())
    with suppress(OSError):  # in a read-only folder nothing can be made again either
        for path in times:
            os.utime(path, ns=(newest, newest))
    return True


def _has_newer_input(job: JobFiles, times: dict[str, int]) -> bool:
    inputs = [time for path in job.inputs for file in (path, digest_path(path)) if (time := _time(file))]
    outputs = [times[path] for path in job.made if path in times]
    return bool(inputs and outputs) and max(inputs) > min(outputs)


def _time(path: str | Path) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0


def _injected() -> list[str]:
    try:
        outputs: list[str] = read_json(INJECTED)["outputs"] if INJECTED.exists() else []
    except (DataError, KeyError):
        return []
    return outputs


def _sentences(provenance: Provenance, equalised: bool) -> list[str]:
    sentences = []
    if provenance.compared:
        outcome = (
            f"{len(provenance.outdated)} of them differ and are made again" if provenance.outdated else "all agree"
        )
        sentences.append(
            f"Snakemake has no provenance of {provenance.compared} finished jobs (.snakemake/ was removed, or results "
            "were copied). The records next to the results are compared with settings, code and inputs instead: "
            f"{outcome}."
            + (" Their times were out of order, as after a copy, and have been made equal." if equalised else "")
        )
    if provenance.unrecorded:
        named = listed(provenance.unrecorded[:3], len(provenance.unrecorded))
        sentences.append(
            f"Provenance is missing for {len(provenance.unrecorded)} finished jobs, in .snakemake/ and next to the "
            f"results: {named}. It is unknown whether settings or code have changed. To make them again, delete them."
        )
    return sentences


def compare(plan: Plan, known: Callable[[str], bool]) -> Provenance:
    """Compare every finished job without Snakemake records with the plan.

    known: whether Snakemake has a record of an output.
    """
    provenance = Provenance()
    digest = cache(digest_of)
    for job in jobs(plan):
        if not job.done or known(str(job.output)):
            continue
        record = recorded(job.output)
        if record is None:
            provenance.unrecorded.append(str(job.output))
            continue
        provenance.compared += 1
        outputs, inputs = record.get("outputs", [str(job.output)]), record.get("inputs", {})
        if _differs(record, plan, job) or any(digest(path) != was for path, was in inputs.items()):
            provenance.outdated.append(outputs)
        else:
            provenance.agreeing.append(JobFiles(list(inputs), [*outputs, str(job.benchmark)]))
    return provenance


def made_by(plan: Plan, job: Job) -> tuple[str, str]:
    """Return the step that makes a job's outputs, and its settings as JSON."""
    w = job.wildcards
    if job.rule in ("sizes_table", "scores_table"):
        return "make_table.py", plan.table_settings(int(w.table))
    if job.rule in ("pretrain", "train_clean", "train", "train_elsewhere"):
        return "train.py", plan.training_settings(w)
    if job.rule in ("evaluate", "evaluate_clean", "evaluate_elsewhere"):
        return "evaluate.py", plan.evaluation_settings(w)
    if job.rule == "fit_reference":
        return "fit_reference.py", plan.evaluation_settings(w)
    if job.rule == "levels_table":
        return "tabulate_levels.py", plan.tables_settings()
    if job.rule == "sweep_table":
        return "tabulate_sweep.py", plan.sweep_settings()
    if job.rule == "audit_claims":
        return "audit_claims.py", plan.scored_settings(table=4)
    if job.rule == "report":
        return "render_report.py", plan.report_settings()
    of_rule: dict[str, Callable[[Any], str]] = {
        "generate_corpus": plan.corpus_settings,
        "build_features": plan.features_settings,
        "generate_media": plan.media_settings,
        "extract_list": plan.list_settings,
        "extract": plan.extract_settings,
        "extract_join": plan.join_settings,
        "calibrate": plan.calibration_settings,
        "corrupt": plan.corruption_settings,
        "check_system": plan.check_settings,
        "embed": plan.embedding_settings,
        "compare_with": plan.compared_settings,
        "draw_figure": plan.figure_settings,
        "compare_systems": lambda _w: plan.scored_settings(),
        **dict.fromkeys(("collect_calibration", "collect_scores", "find_chance"), lambda _w: "{}"),
    }
    return f"{job.rule}.py", of_rule.get(job.rule, lambda _w: plan.tables_settings())(w)


def _differs(record: dict[str, Any], plan: Plan, job: Job) -> bool:
    step, settings = made_by(plan, job)
    planned = {"step": step, "code": json.loads(plan.code(step, job.wildcards)), "settings": json.loads(settings)}
    if any(record.get(key) != value for key, value in planned.items()):
        return True
    return job.rule == "build_features" and record.get("sources") not in (None, _sources(plan, job.dataset))


def _sources(plan: Plan, dataset: str) -> list[str] | None:
    """Return the digests of a dataset's raw files, sorted, as recorded with its features; None for generated ones."""
    section = plan.config["datasets"][dataset]
    if "path" not in section:
        return None
    return sorted(source_digests(plan.raw_files(dataset), MEMORY).values())


def digest_of(path: str) -> str | None:
    """Return the digest of an input as in records; None if it is missing or differs from the file that was made.

    For a large file with a digest next to it, this digest is trusted, as it is if Snakemake has records.
    """
    try:
        stated = stated_digest(path)
        if stated and not digest_path(path).exists():
            stated = stated if stated.startswith(file_digest(path)) else None
    except (DataError, OSError):
        return None
    return hashlib.sha256(stated.encode()).hexdigest() if stated else None
