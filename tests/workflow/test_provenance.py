"""Results without Snakemake's records are checked by the records next to them."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
from pathlib import Path

import pytest
from workflow_copy import Workflow

NO_PROVENANCE = "Snakemake has no provenance of"
TIME_OF_RESULTS = 1_700_000_000
TIME_OF_CLONE = TIME_OF_RESULTS + 10**6


@pytest.fixture(scope="module")
def shared(finished_workflow, tmp_path_factory) -> Workflow:
    """The finished experiment without Snakemake's records: its results copied into a newer clone."""
    workflow = finished_workflow.copied(tmp_path_factory.mktemp("shared") / "nmer")
    shutil.rmtree(workflow.folder / ".snakemake")
    # All results get the same time, because other tests touch some of them. Snakemake's records would make that
    # harmless, but here there are none.
    results = workflow.folder / "results"
    for path in workflow.folder.rglob("*"):
        time = TIME_OF_RESULTS if path.is_relative_to(results) else TIME_OF_CLONE
        os.utime(path, (time, time), follow_symlinks=False)
    return workflow


def slow(*values):
    """Mark a case as slow, because every case costs a run."""
    return pytest.param(*values, marks=pytest.mark.slow)


def output_of(finished) -> str:
    return finished.stdout + finished.stderr


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def test_a_run_reports_missing_provenance_and_trusts_matching_records(shared):
    finished = shared.snakemake()
    assert finished.returncode == 0
    assert "Nothing to be done" in output_of(finished)
    sentence = next(line for line in output_of(finished).splitlines() if NO_PROVENANCE in line)
    assert sentence.endswith("with settings, code and inputs instead: all agree.")
    assert "Provenance is missing" not in output_of(finished), "every job has a record"


@pytest.mark.parametrize(
    ("name", "old", "new", "rules"),
    [
        ("config.yaml", "nmer: { layers: 1,", "nmer: { invariance_weight: 5.0, layers: 1,", {"train", "evaluate"}),
        slow("scripts/nmer/results/embedding.py", "COMPONENTS = 50", "COMPONENTS = 40", {"embed"}),
        slow("scripts/nmer/systems/nmer.py", "BOUND = 10.0", "BOUND = 9.0", {"train", "evaluate"}),
        slow("config.yaml", "noise:\n  kinds", "noise:\n  seed: 7\n  kinds", {"corrupt"}),
        slow("config.yaml", "training: {}", "training: { learning_rate: 0.001 }", {"pretrain", "train_clean", "train"}),
    ],
    ids=["settings", "code of a result", "code", "seed", "settings of all"],
)
def test_changed_settings_and_code_are_detected_without_snakemakes_records(
    shared, finished_workflow, name, old, new, rules
):
    with shared.edited(name, old, new), finished_workflow.edited(name, old, new):
        due, expected = shared.due(), finished_workflow.due()
    assert due == expected
    assert rules <= set(due)
    assert shared.due() == {}


@pytest.mark.slow
@pytest.mark.ci
def test_results_with_other_settings_can_be_accepted_and_the_report_still_states_them(shared):
    report = (shared.folder / "results/tiny/report.html").read_bytes()
    with shared.edited("config.yaml", "nmer: { layers: 1,", "nmer: { invariance_weight: 5.0, layers: 1,"):
        assert shared.due() != {}
        assert shared.snakemake("--touch").returncode == 0
        assert shared.due() == {}
    assert (shared.folder / "results/tiny/report.html").read_bytes() == report


@pytest.mark.slow
@pytest.mark.ci
def test_a_copy_without_original_times_reruns_nothing_and_an_edit_in_it_is_detected(shared, tmp_path):
    workflow = shared.copied(tmp_path / "nmer")
    shutil.rmtree(workflow.folder / ".snakemake")
    files = [path for path in workflow.folder.rglob("results/**/*") if path.is_file()]
    random.Random(0).shuffle(files)
    for number, path in enumerate(files):
        os.utime(path, (TIME_OF_CLONE + number, TIME_OF_CLONE + number))
    finished = workflow.snakemake("--dry-run")
    assert "Nothing to be done" in output_of(finished)
    assert "all agree. Their times" in output_of(finished)
    assert workflow.due() == {}
    append(workflow.folder / "results/tiny/statistics/intervals.csv")
    os.utime(workflow.folder / "results/tiny/statistics/intervals.csv", (TIME_OF_RESULTS, TIME_OF_RESULTS))
    assert set(workflow.due()) == {"draw_figure", "report"}


def test_results_without_any_record_are_reported(shared, tmp_path):
    workflow = shared.copied(tmp_path / "nmer")
    shutil.rmtree(workflow.folder / ".snakemake")
    for record in workflow.folder.rglob(".*.made.json"):
        record.unlink()
    finished = workflow.snakemake()
    assert finished.returncode == 0
    assert "Provenance is missing for" in output_of(finished)
    assert "Nothing to be done" in output_of(finished)


@pytest.mark.slow
def test_the_report_prints_the_recorded_settings_and_not_the_configuration(finished_workflow, tmp_path):
    workflow = finished_workflow.copied(tmp_path / "nmer")
    report = workflow.folder / "results/tiny/report.html"
    assert "As recorded with the files behind these scores" in report.read_text()
    record = next(workflow.folder.glob("results/tiny/runs/tiny_mosei/nmer/incomplete/*/fold1/.history.csv.made.json"))
    assert json.loads(record.read_text())["settings"]["training"]["constant_epochs"] == 1
    with workflow.edited("config.yaml", "constant_epochs: 1\n      decay", "constant_epochs: 77\n      decay"):
        assert workflow.snakemake("--touch").returncode == 0
        report.unlink()
        finished = workflow.snakemake("--rerun-triggers", "mtime")
        assert finished.returncode == 0, output_of(finished)
    assert "constant_epochs: 1" in report.read_text()
    assert "77" not in report.read_text().partition('id="configuration"')[2].partition("</pre>")[0]


def edit_scores(path: Path) -> None:
    path.write_text(path.read_text().replace(",0.", ",0.9"))


def edit_predictions(path: Path) -> None:
    text = gzip.decompress(path.read_bytes()).decode()
    path.write_bytes(gzip.compress(text.replace(",1,", ",0,").encode()))


@pytest.mark.parametrize(
    ("pattern", "edit"),
    [
        ("scores/tiny_mosei/nmer/incomplete/gaussian_-10dB.csv", edit_scores),
        slow("scores/tiny_mosei/nmer/incomplete/gaussian_-10dB_predictions.csv.gz", edit_predictions),
        slow("runs/tiny_mosei/nmer/incomplete/gaussian_-10dB/fold1/history.csv", edit_scores),
        slow("scores.csv", edit_scores),
        slow("statistics/intervals.csv", edit_scores),
        slow("statistics/ranks.csv", append),
        slow("teachers/tiny_mosei/two_tower/fold1/history.csv", append),
        slow("tables/table2.csv", edit_scores),
        slow("tables/table2.html", append),
        slow("tables/table1.tex", append),
        slow("tables/claims.md", append),
        slow("figures/robustness.pdf", append),
        slow("embeddings/tiny_mosei/gaussian_-10dB_points.csv", edit_scores),
    ],
)
def test_an_edited_file_between_training_and_report_is_refused(finished_workflow, tmp_path, pattern, edit):
    workflow = finished_workflow.copied(tmp_path / "nmer")
    path = workflow.folder / "results/tiny" / pattern
    before = path.read_bytes()
    edit(path)
    assert path.read_bytes() != before
    finished = workflow.snakemake()
    assert finished.returncode != 0
    assert f"error: results/tiny/{pattern}: is damaged or was changed after it was made" in output_of(finished)
    assert "Traceback" not in output_of(finished)
