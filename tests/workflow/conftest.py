"""Copies of the repository for the end-to-end tests, shared by those of one worker."""

from __future__ import annotations

import subprocess

import pytest
from workflow_copy import OFFLINE, Workflow, reduced


def may_go_offline() -> bool:
    """Whether this user may run a command without a network."""
    try:
        return subprocess.run([*OFFLINE, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture(scope="session")
def finished_workflow(tmp_path_factory) -> Workflow:
    """The `tiny` experiment, run with two cores and, where the system lets us cut it off, without a network."""
    workflow = Workflow(tmp_path_factory.mktemp("two cores") / "nmer")
    finished = workflow.snakemake(cores=2, prefix=OFFLINE if may_go_offline() else ())
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return workflow


@pytest.fixture(scope="session")
def fresh_workflow(tmp_path_factory) -> Workflow:
    """A copy in which nothing is ever run: for faults that stop before any job."""
    return Workflow(tmp_path_factory.mktemp("fresh") / "nmer")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Workflow:
    """The reduced experiment, finished: what a disturbed run of it shall end in."""
    workflow = reduced(tmp_path_factory.mktemp("undisturbed"))
    finished = workflow.snakemake()
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return workflow
