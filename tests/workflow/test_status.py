"""Status and partial report of an unfinished experiment, independent of Snakemake."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import yaml
from workflow_copy import Workflow

from nmer.plan.jobs import STAGES, jobs
from nmer.plan.plan import Plan

TINY = ("--config", "experiment=tiny")
DELETED = (
    "results/tiny/report.html",
    "results/tiny/figures",
    "results/tiny/scores.csv",
    "results/tiny/scores/tiny_mosei/nmer",
    "results/tiny/runs/tiny_mosei/nmer/incomplete",
    "results/tiny/embeddings/tiny_mosei",
)


def call(folder: Path, script: str, *arguments: str) -> subprocess.CompletedProcess:
    """Call a program of the workflow as a user would."""
    command = [sys.executable, f"scripts/{script}", *arguments]
    return subprocess.run(command, cwd=folder, text=True, capture_output=True, check=False)


def counts(text: str) -> dict[str, tuple[int, int]]:
    """Return the jobs done and the total jobs per stage from the output of status.py."""
    return {stage: (int(done), int(of)) for stage, done, of in re.findall(r"^(\w+) +(\d+) +(\d+) ", text, re.MULTILINE)}


@pytest.fixture(scope="module")
def unfinished(finished_workflow, tmp_path_factory) -> Workflow:
    """A copy of the finished `tiny` experiment with some results deleted."""
    workflow = finished_workflow.copied(tmp_path_factory.mktemp("unfinished") / "nmer")
    for name in DELETED:
        path = workflow.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return workflow


# demo_today trains MEN only because MMIN starts from it.
@pytest.mark.parametrize("experiment", ["tiny", "demo", "demo_today", "rates"])
def test_the_jobs_counted_are_those_that_snakemake_would_run(fresh_workflow, experiment):
    config = yaml.safe_load((fresh_workflow.folder / "config.yaml").read_text())
    counted = Counter(job.rule for job in jobs(Plan(config | {"experiment": experiment})))
    due = {rule: len(places) for rule, places in fresh_workflow.due(experiment=experiment).items()}
    assert len(due) > 10
    assert counted == due


def test_every_finished_job_has_the_output_and_the_benchmark_that_show_it_is_done(finished_workflow, monkeypatch):
    monkeypatch.chdir(finished_workflow.folder)
    config = yaml.safe_load(Path("config.yaml").read_text())
    all_jobs = jobs(Plan(config | {"experiment": "tiny"}))
    assert [job for job in all_jobs if not job.done] == []
    assert sorted(job.benchmark for job in all_jobs) == sorted(Path("results/benchmarks").rglob("*.tsv"))


def test_a_finished_experiment_is_reported_as_finished(finished_workflow):
    finished = call(finished_workflow.folder, "status.py", *TINY)
    assert finished.returncode == 0, finished.stderr
    assert counts(finished.stdout)["all"] == (43, 43)
    assert re.search(r"^At chance: \d+ of the \d+ cells evaluated so far", finished.stdout, re.MULTILINE)
    assert "Everything has finished: results/tiny/report.html" in finished.stdout
    partial = call(finished_workflow.folder, "partial_report.py", *TINY)
    assert partial.stdout.strip() == "Nothing is missing: results/tiny/report.html"
    assert not (finished_workflow.folder / "results/tiny/partial").exists()


def test_the_status_counts_missing_jobs_and_estimates_their_time_from_benchmarks(unfinished):
    finished = call(unfinished.folder, "status.py", *TINY)
    assert finished.returncode == 0, finished.stderr
    assert counts(finished.stdout) == {
        "features": (4, 4),
        "noise": (6, 6),
        "teachers": (2, 2),
        "training": (5, 6),
        "evaluation": (4, 7),
        "results": (9, 18),
        "all": (30, 43),
    }
    gone = [
        *("report", "scores", "figures/robustness", "runs/tiny_mosei/nmer/incomplete/gaussian_-10dB/fold1"),
        *(f"scores/tiny_mosei/nmer/{regime}/gaussian_-10dB" for regime in ("incomplete", "all_noisy")),
        *(
            f"figures/{kind}_tiny_{name}"
            for kind in ("training", "figure3", "calibration")
            for name in ("iemocap", "mosei")
        ),
        "embeddings/tiny_mosei/gaussian_-10dB",
    ]
    benchmarks = unfinished.folder / "results/benchmarks/tiny"
    seconds = sum(pd.read_csv(benchmarks / f"{name}.tsv", sep="\t")["s"].iloc[0] for name in gone)
    left = re.search(r"^all .*  (?:(\d+) min )?(\d+) s$", finished.stdout, re.MULTILINE)
    assert int(left[1] or 0) * 60 + int(left[2]) == pytest.approx(seconds, abs=1)
    assert re.search(r"Time left: about \d+ .*with \d\.\d concurrent jobs, as so far", finished.stdout)


def test_an_experiment_that_has_not_begun_has_no_estimated_time(fresh_workflow):
    finished = call(fresh_workflow.folder, "status.py", "--config", "experiment=demo")
    assert set(counts(finished.stdout)) == {*STAGES, "all"} - {"extraction"}
    assert counts(finished.stdout)["all"][0] == 0
    assert "Time left: unknown" in finished.stdout
    refused = call(fresh_workflow.folder, "partial_report.py", *TINY)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == ("error: results/tiny: no training has finished an epoch yet. Try again when one has.\n")
    assert not (fresh_workflow.folder / "results").exists()


def test_a_fault_in_the_configuration_is_one_line(fresh_workflow):
    finished = call(fresh_workflow.folder, "status.py", "--config", "experiment=tny")
    assert finished.returncode == 1
    assert re.fullmatch(r"error: experiment: unknown name 'tny'.*Did you mean 'tiny'\?\n", finished.stderr)


def contents(folder: Path) -> dict[Path, bytes]:
    """Return the content of every file below a folder, without Python's bytecode."""
    paths = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder): path.read_bytes() for path in paths}


def write_other_experiments(folder: Path) -> None:
    """Write an experiment with a run of the unfinished one, and one with other runs."""
    run = Path("scores/tiny_iemocap/nmer/incomplete")
    shutil.copytree(folder / "results/tiny" / run, folder / "results/rates" / run)
    scores = pd.read_csv(folder / "results/rates" / run / "gaussian_-10dB.csv")
    scores.to_csv(folder / "results/rates/scores.csv", index=False)
    (folder / "results/mosi").mkdir()
    scores.assign(system="mmin").to_csv(folder / "results/mosi/scores.csv", index=False)


@pytest.fixture(scope="module")
def partial(unfinished) -> tuple[set[Path], Path]:
    """The files that rendering the partial report added, and the page."""
    folder = unfinished.folder
    write_other_experiments(folder)
    before = contents(folder)
    others = "experiments={tiny: {compare_with: [rates, mosi, demo]}}"
    rendered = call(folder, "partial_report.py", *TINY, others)
    assert rendered.returncode == 0, rendered.stderr
    after = contents(folder)
    assert {path: after.get(path) for path in before} == before
    return set(after) - set(before), folder / rendered.stdout.strip()


def test_a_partial_report_writes_only_to_its_folder(partial):
    added, _page = partial
    assert {path.parts[:3] for path in added} == {("results", "tiny", "partial")}
    assert not [path for path in added if path.suffix == ".tmp"]


def test_a_partial_report_shows_existing_results_and_lists_missing_ones(partial):
    added, page = partial
    text = page.read_text()
    assert "<strong>Partial report.</strong> 30 of 46 jobs had finished" in text
    for sentence in (
        "<li>training: 1 of 6 jobs (nmer on tiny_mosei)</li>",
        "<li>evaluation: 3 of 7 jobs (nmer on tiny_mosei)</li>",
        "<li>results: 12 of 21 jobs (tiny_mosei, tiny_iemocap)</li>",
    ):
        assert sentence in text
    names = {path.name for path in added}
    assert {"figure3_tiny_iemocap.png", "calibration_tiny_mosei.png", "robustness.png"} <= names
    assert "figure3_tiny_mosei.png" not in names, "its panel was deleted"
    assert re.findall(r'<h3 id="figure-(figure3\w+)"', text) == ["figure3_tiny_iemocap"]


def test_a_partial_report_compares_what_other_experiments_have_in_common(partial):
    _added, page = partial
    text = page.read_text()
    assert re.findall(r'<h3 id="(beside_\w+)"', text) == ["beside_rates"]
    assert "<li>comparison with mosi: no run has scores in both experiments yet</li>" in text
    assert "<li>comparison with demo: results/demo/scores.csv does not exist</li>" in text
    table = pd.read_csv(page.parent / "tables" / "beside_rates.csv")
    assert set(table["system"]) == {"nmer"}
    assert set(table["dataset"]) == {"tiny_iemocap"}
    assert (table["difference"] == 0).all()


def test_the_cells_of_a_partial_report_are_those_of_the_full_report_or_dashes(partial, finished_workflow):
    _added, page = partial
    part, whole = page.parent / "tables", finished_workflow.folder / "results/tiny/tables"
    key = ["dataset", "system", "noise", "snr_db", "condition", "metric"]
    for number in (2, 3, 5):
        partial_means, full_means = (
            pd.read_csv(tables / f"table{number}.csv").set_index(key)["mean"] for tables in (part, whole)
        )
        gone = [place for place in full_means.index if place[:2] == ("tiny_mosei", "nmer")]
        assert gone
        assert partial_means[gone].isna().all()
        assert partial_means.drop(gone).notna().any()
        pd.testing.assert_series_equal(partial_means.drop(gone), full_means.drop(gone))
    assert (part / "table1.csv").read_text() == (whole / "table1.csv").read_text()
    assert "–" in page.read_text()


def test_snakemake_continues_during_a_partial_report(partial, unfinished):
    due = unfinished.due()
    assert due["train"] == {("tiny_mosei", "nmer", "incomplete", "gaussian_-10dB", "1")}
    assert set(due["evaluate"]) == {
        ("tiny_mosei", "nmer", regime, "gaussian_-10dB") for regime in ("incomplete", "all_noisy")
    }


@pytest.mark.slow
@pytest.mark.ci
def test_before_anything_is_evaluated_the_status_and_the_page_show_the_training_in_progress(
    finished_workflow, tmp_path
):
    folder = finished_workflow.copied(tmp_path / "nmer").folder
    results = folder / "results/tiny"
    run = Path("results/tiny/runs/tiny_mosei/nmer/incomplete/gaussian_-10dB/fold1")
    history = pd.read_csv(folder / run / "history.csv")
    epochs, repeats = int(history["epoch"].max()), int(history["repeat"].nunique())
    for name in ("scores", "runs", "scores.csv", "report.html", "figures", "statistics", "tables"):
        path = results / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    progress = results / "checkpoints" / "0123456789abcdef"
    progress.mkdir(parents=True)
    about = {"history": str(run / "history.csv"), "epochs": epochs, "repeats": repeats, "rows": 0}
    (progress / "job.json").write_text(json.dumps(about))
    first = history[history["repeat"] == 1]
    text = first.to_csv(index=False)
    (progress / "live_history.csv").write_text(text + text.splitlines()[-1][:7])
    finished = call(folder, "status.py", *TINY)
    assert finished.returncode == 0, finished.stderr
    reached = f"repeat 1 epoch {epochs}/{epochs} UA {first['val_UA'].iloc[-1]:.4f}; last epoch "
    assert f"  runs/tiny_mosei/nmer/incomplete/gaussian_-10dB/fold1: {reached}" in finished.stdout
    rendered = call(folder, "partial_report.py", *TINY)
    assert rendered.returncode == 0, rendered.stderr
    page = (folder / rendered.stdout.strip()).read_text()
    assert re.findall('<h3 id="figure-(training_.+?)">', page) == ["training_tiny_mosei"]
    curves = pd.read_csv(results / "partial/figures/training_tiny_mosei.csv")
    scores = curves.query("quantity == 'val_UA' and system == 'nmer'")["mean"].tolist()
    assert scores == pytest.approx(first["val_UA"].tolist(), abs=1e-5)
