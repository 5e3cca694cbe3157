"""Copies of the repository that the end-to-end tests share."""

from __future__ import annotations

import pytest
from filelock import FileLock
from workflow_copy import OFFLINE, Workflow, may_go_offline, reduced


@pytest.fixture(scope="session")
def finished_workflow(tmp_path_factory, worker_id) -> Workflow:
    """The `tiny` experiment, run on two cores and, where permitted, without a network.

    One worker runs it and writes its output to the file ``output``; every worker gets its own copy next to the run.
    """
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "two cores"
    with FileLock(f"{shared}.lock"):
        if not shared.exists():
            prefix = OFFLINE if may_go_offline() else ()
            finished = Workflow(shared / "nmer").snakemake("--verbose", cores=2, prefix=prefix)
            output = finished.stdout + finished.stderr
            (shared / "output").write_text(output)
            assert finished.returncode == 0, output
        assert (shared / "nmer/results/tiny/report.html").exists(), "The run failed in another worker; see its output."
    return Workflow.at(shared / "nmer").copied(shared / worker_id / "nmer")


@pytest.fixture(scope="session")
def fresh_workflow(tmp_path_factory) -> Workflow:
    """A copy for faults that are found before any job runs."""
    return Workflow(tmp_path_factory.mktemp("fresh") / "nmer")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Workflow:
    """The finished reduced experiment: the expected results of a disturbed run."""
    workflow = reduced(tmp_path_factory.mktemp("undisturbed"))
    finished = workflow.snakemake()
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return workflow
