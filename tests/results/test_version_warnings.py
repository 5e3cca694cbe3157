"""Results of several library versions cause a warning; those of one version do not."""

from __future__ import annotations

import pandas as pd
import pytest

from nmer.files import write_rows
from nmer.results.version_warnings import histories_behind, version_warnings

OLD, NEW = "python 3.11.7, torch 2.12.0", "python 3.11.7, torch 2.13.0"
SCORES = pd.DataFrame(
    [
        ("mosi", "men", "clean", "gaussian", -10, 1),
        ("mosi", "nmer", "incomplete", "gaussian", -10, 1),
        ("mosi", "nmer", "incomplete", "zero", None, 1),
        ("mosi", "unimodal_a", "clean", None, None, 1),
    ],
    columns=["dataset", "system", "regime", "noise", "snr_db", "fold"],
).astype({"snr_db": "Int64"})
RUNS = ["men/clean", "nmer/incomplete/gaussian_-10dB", "nmer/incomplete/zero", "unimodal_a/clean"]


@pytest.fixture
def folder(tmp_path):
    for run in RUNS:
        history(tmp_path / "runs" / "mosi" / run, NEW)
    history(tmp_path / "teachers" / "mosi" / "two_tower", NEW)
    return tmp_path


def history(run, *versions: str) -> None:
    rows = [{"repeat": 1, "epoch": epoch, "versions": version} for epoch, version in enumerate(versions, 1)]
    write_rows(run / "fold1" / "history.csv", rows)


def test_one_version_causes_no_warning(folder):
    assert version_warnings(histories_behind(SCORES, folder)) == []


@pytest.mark.parametrize("run", [f"runs/mosi/{run}" for run in RUNS] + ["teachers/mosi/two_tower"])
def test_a_run_of_another_version_is_counted(folder, run):
    history(folder / run, OLD)
    (warning,) = version_warnings(histories_behind(SCORES, folder))
    assert f"4 with {NEW}; 1 with {OLD}" in warning


def test_a_training_resumed_after_an_upgrade_counts_for_both_versions(folder):
    history(folder / "runs/mosi/men/clean", OLD, NEW)
    (warning,) = version_warnings(histories_behind(SCORES, folder))
    assert f"5 with {NEW}; 1 with {OLD}" in warning


def test_unrelated_runs_and_runs_without_versions_cause_no_warning(folder):
    history(folder / "runs/mosi/nmer/incomplete/gaussian_-40dB", OLD)
    write_rows(folder / "runs/mosi/men/clean/fold1/history.csv", [{"repeat": 1, "epoch": 1}])
    (folder / "runs/mosi/nmer/incomplete/zero/fold1/history.csv").unlink()
    assert version_warnings(histories_behind(SCORES, folder)) == []
