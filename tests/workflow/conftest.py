"""Copies of the repository for the end-to-end tests, shared among them."""

from __future__ import annotations

import pytest
from filelock import FileLock
from workflow_copy import OFFLINE, Workflow, may_go_offline, reduced


@pytest.fixture(scope="session")
def finished_workflow(tmp_path_factory, worker_id) -> Workflow:
    """The `tiny` experiment, run with two cores and, where the system lets us cut it off, without a network.

    One worker runs it, and each has a copy of its own, in a folder beside that of the run and of ``said``, its output.
    """
    own = tmp_path_factory.getbasetemp()
    shared = (own if worker_id == "master" else own.parent) / "two cores"
    with FileLock(f"{shared}.lock"):
        if not shared.exists():
            prefix = OFFLINE if may_go_offline() else ()
            finished = Workflow(shared / "nmer").snakemake("--verbose", cores=2, prefix=prefix)
            said = finished.stdout + finished.stderr
            (shared / "said").write_text(said)
            assert finished.returncode == 0, said
        assert (shared / "nmer/results/tiny/report.html").exists(), "It failed in another worker, which says why."
    return Workflow.at(shared / "nmer").copied(shared / worker_id / "nmer")


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
