"""List the jobs of an experiment with their stage, rule, an output and the benchmark.

For inspecting an experiment without Snakemake; nothing is run from this list.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from nmer.plan.paths import HISTORY, LEVELS, RESULTS, SIZES_TABLE, SWEEP
from nmer.plan.plan import Plan
from nmer.references.registry import REFERENCES

EXTRACTION = "extraction"
STAGES = (EXTRACTION, "features", "noise", "teachers", "training", "evaluation", "results")


@dataclass(frozen=True)
class Job:
    """One job: its stage, rule, dataset and system (empty if it has none), one of its outputs, its benchmark.

    wildcards: those of its rule, for the methods of the plan.
    """

    stage: str
    rule: str
    output: Path
    benchmark: Path
    dataset: str = ""
    system: str = ""
    wildcards: Any = field(default_factory=SimpleNamespace, compare=False)

    @property
    def done(self) -> bool:
        """Whether its output exists."""
        return self.output.exists()


def jobs(plan: Plan) -> list[Job]:
    """List every job of an experiment, in the order of the stages."""
    all_jobs = [*_features(plan), *_noise(plan), *_trainings(plan), *_evaluations(plan), *_results(plan)]
    return sorted(all_jobs, key=lambda job: STAGES.index(job.stage))


def _job(of: str, rule: str, output: Path, stem: Path | None = None, /, **wildcards: str | int) -> Job:
    """Create a job whose benchmark has the path of its output, or of ``stem``."""
    place = (stem or output.with_suffix("")).relative_to(RESULTS)
    about = {key: str(value) for key, value in wildcards.items()}
    benchmark, system = RESULTS / "benchmarks" / f"{place}.tsv", about.get("system") or about.get("stage", "")
    return Job(of, rule, output, benchmark, about.get("dataset", ""), system, SimpleNamespace(**about))


def _features(plan: Plan) -> Iterable[Job]:
    for dataset in plan.datasets:
        if "generate" in plan.config["datasets"][dataset]:
            yield _job("features", "generate_corpus", RESULTS / "corpora" / f"{dataset}.sha256", dataset=dataset)
        if plan.is_raw(dataset):
            yield from _extraction(plan, dataset)
        yield _job("features", "build_features", plan.features(dataset).with_suffix(".json"), dataset=dataset)


def _extraction(plan: Plan, dataset: str) -> Iterable[Job]:
    raw = plan.raw(dataset)
    if raw.generated:
        yield _job("extraction", "generate_media", RESULTS / "media" / f"{dataset}.sha256", dataset=dataset)
    yield _job("extraction", "extract_list", raw.folder / "list.json", dataset=dataset)
    for path in raw.chunk_files():
        yield _job("extraction", "extract", path, dataset=dataset, modality=path.parent.name, chunk=path.stem)
    yield _job("extraction", "extract_join", raw.corpus.with_suffix(".json"), dataset=dataset)


def _noise(plan: Plan) -> Iterable[Job]:
    draws_panels = plan.draws_panels
    for dataset in plan.datasets:
        drawn = [stem.name for stem in plan.panels(dataset)] if draws_panels else []
        for corruption in dict.fromkeys([*plan.corruptions_of(dataset), *drawn]):
            calibrated = RESULTS / "calibration" / dataset / f"{corruption}.csv"
            yield _job("noise", "calibrate", calibrated, dataset=dataset, corruption=corruption)
            summary = plan.noisy(dataset, corruption).with_suffix(".csv")
            yield _job("noise", "corrupt", summary, dataset=dataset, corruption=corruption)
        yield _job("noise", "collect_calibration", RESULTS / "calibration" / f"{dataset}.csv", dataset=dataset)


def _trainings(plan: Plan) -> Iterable[Job]:
    for system in dict.fromkeys(training.system for training in plan.trainings()):
        for path in plan.system_check(system):
            yield _job("training", "check_system", path, system=system)
    for training in plan.trainings():
        corruption = training.corruption.name if training.corruption and not training.trained_at else None
        model = plan.trained(training)
        about: dict[str, str | int] = {"dataset": training.dataset, "fold": training.fold}
        if model.is_relative_to(plan.folder / "teachers"):
            of, rule = "teachers", "pretrain"
            about["stage"] = training.system
        else:
            of, rule = "training", "train" if corruption else "train_clean"
            about |= {"system": training.system, "regime": training.regime}
            if training.trained_at:
                rule = "train_elsewhere"
                about["trained"] = training.trained_at
        if corruption:
            about["corruption"] = corruption
        yield _job(of, rule, model.with_name(HISTORY), model.parent, **about)


def _evaluations(plan: Plan) -> Iterable[Job]:
    evaluations, elsewhere = plan.evaluations(), plan.elsewhere()
    own, others = plan.scores()[: len(evaluations)], plan.scores()[len(evaluations) :]
    for one, scores in zip(elsewhere, others, strict=True):
        tested = {"dataset": one.dataset, "system": one.system, "regime": one.regime, "corruption": one.corruption.name}
        yield _job("evaluation", "evaluate_elsewhere", scores, trained=one.trained_at, **tested)
    for (dataset, system, regime, corruption), scores in zip(evaluations, own, strict=True):
        about: dict[str, str | int] = {"dataset": dataset, "system": system, "regime": regime}
        if corruption:
            about["corruption"] = corruption.name
        rule = "evaluate" if corruption else "evaluate_clean"
        yield _job("evaluation", "fit_reference" if system in REFERENCES else rule, scores, **about)
    yield _job("evaluation", "collect_scores", plan.folder / "scores.csv")


def _results(plan: Plan) -> Iterable[Job]:
    for number, stem in zip(plan.tables, plan.table_stems(), strict=True):
        rule = "sizes_table" if number == SIZES_TABLE else "scores_table"
        yield _job("results", rule, stem.with_suffix(".csv"), table=number)
    if plan.has_curves:
        stem = plan.folder / "tables" / LEVELS
        yield _job("results", "levels_table", stem.with_suffix(".csv"))
    if plan.sweep:
        stem = plan.folder / "tables" / SWEEP
        yield _job("results", "sweep_table", stem.with_suffix(".csv"))
    for dataset in plan.datasets if plan.draws_panels else []:
        for stem in plan.panels(dataset):
            distances = stem.with_name(f"{stem.name}_distances.csv")
            yield _job("results", "embed", distances, stem, dataset=dataset, corruption=stem.name)
    statistics = plan.folder / "statistics"
    yield _job("results", "find_chance", plan.chance())
    yield _job("results", "compare_systems", statistics / "comparisons.csv", statistics)
    for other, stem in plan.compared().items():
        yield _job("results", "compare_with", stem.with_suffix(".csv"), other=other)
    yield _job("results", "audit_claims", plan.folder / "tables" / "claims.csv")
    for stem, drawing in zip(plan.figure_stems(), plan.drawings.values(), strict=True):
        yield _job("results", "draw_figure", stem.with_suffix(".png"), stem, figure=stem.name, dataset=drawing.dataset)
    yield _job("results", "report", plan.folder / "report.html")
