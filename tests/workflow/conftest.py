"""Copies of the repository for the end-to-end tests, shared by those of one worker."""

from __future__ import annotations

import pytest
from workflow_copy import Workflow, reduced


@pytest.fixture(scope="session")
def finished_workflow(tmp_path_factory) -> Workflow:
    """The `tiny` experiment, run with two cores."""
    workflow = Workflow(tmp_path_factory.mktemp("two cores") / "nmer")
    finished = workflow.snakemake(cores=2)
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
