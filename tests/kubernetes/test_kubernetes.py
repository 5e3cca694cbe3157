"""The profile for Kubernetes: jobs are rendered, validated against Kubernetes' schemas, and run without it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from workflow_copy import Workflow

HERE = Path(__file__).resolve().parent
VERSIONS = ("1.28", "1.33")
EXPERIMENT = ("--configfile", "tests/slurm/experiment.yaml")
IMAGE, CLAIM = "python:3.11", "nmer-volume"
PROFILE = ("--profile", "workflow/profiles/kubernetes", "--seconds-between-status-checks", "1")


@pytest.fixture
def kubernetes(tmp_path, monkeypatch) -> Path:
    """Put the fake kubectl on PATH; return the folder where it stores its input."""
    folder = tmp_path / "kubectl"
    folder.mkdir()
    monkeypatch.setenv("KUBECTL_FOLDER", str(folder))
    monkeypatch.setenv("PATH", str(HERE), prepend=":")
    for name, value in (("IMAGE", IMAGE), ("VOLUME_CLAIM", CLAIM), ("VOLUME_PATH", str(tmp_path))):
        monkeypatch.setenv(f"NMER_{name}", value)
    return folder


def test_every_job_is_valid_requests_its_resources_and_runs(kubernetes, tmp_path):
    workflow = Workflow(tmp_path / "nmer")
    finished = workflow.snakemake(*PROFILE, *EXPERIMENT, "--until", "train_clean", gpus=1, experiment="cluster")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert list(workflow.folder.glob("results/cluster/runs/*/men/clean/fold1/history.csv"))
    gpus = []
    for path in kubernetes.glob("*.yaml"):
        job = yaml.safe_load(path.read_text())
        for version in VERSIONS:
            kubernetes_validate.validate(job, version, strict=True)
        pod = job["spec"]["template"]["spec"]
        [container] = pod["containers"]
        resources = container["resources"]
        assert container["image"] == IMAGE
        assert container["workingDir"] == str(workflow.folder)
        assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == CLAIM
        assert resources["requests"]["memory"] == resources["limits"]["memory"]
        assert pod["activeDeadlineSeconds"] >= 20 * 60
        gpus.append(
            (resources["limits"]["nvidia.com/gpu"], resources["limits"]["memory"], pod["activeDeadlineSeconds"])
        )
    assert gpus.count(("1", "1500M", 240 * 60)) == 1
    assert {limits[0] for limits in gpus} == {"0", "1"}


def test_a_missing_volume_name_is_refused(kubernetes, tmp_path, monkeypatch):
    monkeypatch.delenv("NMER_VOLUME_CLAIM")
    submit = HERE.parents[1] / "workflow/profiles/kubernetes/submit.sh"
    finished = subprocess.run([submit, "1", "1000", "20", "0", "script"], text=True, capture_output=True, check=False)
    assert finished.returncode != 0
    assert "NMER_VOLUME_CLAIM" in finished.stderr
    assert not list(kubernetes.iterdir())


@pytest.mark.parametrize(
    ("answer", "code", "reported"),
    [
        ("nmer-1 ", 0, "running"),
        ("nmer-1 SuccessCriteriaMet Complete", 0, "success"),
        ("nmer-1 FailureTarget Failed", 0, "failed"),
        ("", 0, "failed"),
        ("", 1, "running"),
    ],
)
def test_every_state_of_a_job_is_reported(tmp_path, answer, code, reported):
    program = tmp_path / "kubectl"
    program.write_text(f"#!/bin/sh\nprintf '{answer}'\nexit {code}\n")
    program.chmod(0o755)
    status = HERE.parents[1] / "workflow/profiles/kubernetes/status.sh"
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    result = subprocess.run([status, "nmer-1"], env=environment, text=True, capture_output=True, check=True)
    assert result.stdout.split() == [reported]
