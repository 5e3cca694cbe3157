"""Fixtures of the Slurm tests: a local run of the experiment, and an observed run on the cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from slurm_workflow import EXPERIMENT, SLURM, Job, SlurmWorkflow, Step, jobs, watched
from workflow_copy import Workflow


@dataclass
class SlurmRun:
    """A finished run on the cluster: its folder, the jobs of Slurm, and observations during the run."""

    workflow: SlurmWorkflow
    jobs: list[Job]
    moments: list[list[Step]]
    waited: set[str]


def pytest_configure() -> None:
    """Exit outside the private cluster: on a real one these tests would take nodes down."""
    if Path("/etc/slurm/slurm.conf").exists() and "ClusterName=pretended" in Path("/etc/slurm/slurm.conf").read_text():
        return
    pytest.exit("tests/slurm runs in a private cluster: call `make test-slurm`.", returncode=2)


@pytest.fixture(scope="session")
def local_run(tmp_path_factory) -> Workflow:
    """The experiment, run without a scheduler."""
    workflow = Workflow(tmp_path_factory.mktemp("local") / "nmer")
    finished = workflow.snakemake(*EXPERIMENT, experiment="cluster")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return workflow


@pytest.fixture(scope="session")
def slurm_run(tmp_path_factory) -> SlurmRun:
    """The experiment, run on the cluster with the profile for Slurm."""
    workflow = SlurmWorkflow(tmp_path_factory.mktemp("slurm") / "nmer")
    before = {job.number for job in jobs()}
    with watched() as (moments, waited):
        finished = workflow.submit(*SLURM)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return SlurmRun(workflow, [job for job in jobs() if job.number not in before], moments, waited)
