"""A single file as the target: those of the experiment are made, and others end in one message."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from workflow_copy import Workflow

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def dry_run(file: str, folder: Path) -> subprocess.CompletedProcess:
    """List the jobs that make a file, in an empty folder."""
    command = [*Workflow.command(file, "--dry-run"), "--snakefile", REPOSITORY / "Snakefile"]
    return subprocess.run(command, cwd=folder, text=True, capture_output=True, check=False)


@pytest.mark.parametrize(
    "file",
    [
        "results/tiny/tables/table9.csv",
        "results/tiny/tables/sweep.csv",
        "results/tiny/tables/beside_none.csv",
        "results/tiny/checks/nosuch.txt",
        "results/tiny/runs/tiny_iemocap/nosuch/clean/fold1/model.safetensors",
        "results/tiny/runs/tiny_iemocap/nmer/incomplete/gaussian_-10dB/fold2/model.safetensors",
        "results/tiny/teachers/tiny_iemocap/nosuch/fold1/model.safetensors",
        "results/corpora/mosi.sha256",
        "results/media/tiny_iemocap.sha256",
        "results/extracted/tiny_iemocap/utterances.csv",
        "results/extracted/demo_media/a/0.h5",  # raw media of another experiment
        "results/features/demo_media.h5",
    ],
)
def test_a_file_that_the_experiment_does_not_have_is_refused_in_one_message(file, tmp_path):
    finished = dry_run(file, tmp_path)
    assert finished.returncode == 1
    output = finished.stdout + finished.stderr
    assert f"No rule to produce {file}" in output
    assert "Traceback" not in output
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "file",
    [
        "results/tiny/tables/table4.csv",
        "results/tiny/teachers/tiny_iemocap/two_tower/fold1/model.safetensors",
        "results/tiny/runs/tiny_iemocap/men/clean/fold1/model.safetensors",
        "results/features/demo_mosei.h5",  # corpora of other experiments can be read
    ],
)
def test_a_file_of_the_experiment_is_planned(file, tmp_path):
    finished = dry_run(file, tmp_path)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert file in finished.stdout + finished.stderr
