"""The profile for other schedulers, with Torque's commands, which Debian also provides for Slurm."""

from __future__ import annotations

import filecmp
import subprocess

import pytest
from sabotage import cancel_job, once_half_trained
from slurm_workflow import SlurmWorkflow, jobs
from workflow_copy import REPOSITORY

OFTEN = ("--seconds-between-status-checks", "1")
HISTORY = "results/cluster/runs/tiny_iemocap/men/clean/fold1/history.csv"


def test_a_training_on_another_scheduler_is_retried_to_the_same_result(local_run, tmp_path, monkeypatch):
    workflow = SlurmWorkflow(tmp_path / "nmer")
    monkeypatch.chdir(workflow.folder)
    before = {job.number for job in jobs()}
    once_half_trained("men/clean", cancel_job)
    finished = workflow.submit(*OFTEN, "--until", "train_clean", profile="workflow/profiles/generic")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    since = [job for job in jobs() if job.number not in before]
    assert [job.state for job in since] == ["COMPLETED", "COMPLETED", "CANCELLED", "COMPLETED"]
    assert [job.gpus for job in since] == ["N/A", "N/A", "gres:gpu:1", "gres:gpu:1"]
    assert [(job.memory, job.minutes) for job in since[2:]] == [("1500M", "4:00:00"), ("3000M", "8:00:00")]
    assert filecmp.cmp(local_run.folder / HISTORY, workflow.folder / HISTORY, shallow=False)


@pytest.mark.parametrize(
    ("answer", "code", "exit_status", "reported"),
    [
        ("job_state = Q", 0, None, "running"),
        ("job_state = R", 0, None, "running"),
        ("", 1, None, "running"),
        ("job_state = C", 0, "0", "success"),
        ("job_state = C", 0, "1", "failed"),
        ("", 153, "0", "success"),
        ("", 153, None, "failed"),
    ],
)
def test_every_state_of_a_job_is_reported(tmp_path, monkeypatch, answer, code, exit_status, reported):
    program = tmp_path / "bin" / "qstat"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho '{answer}'\nexit {code}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    folder = tmp_path / ".snakemake" / "jobs"
    folder.mkdir(parents=True)
    (folder / "7").symlink_to(folder / "job")
    if exit_status is not None:
        (folder / "job.exit").write_text(f"{exit_status}\n")
    command = [REPOSITORY / "workflow/profiles/generic/status.sh", "7"]
    result = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=True)
    assert result.stdout.split() == [reported]
