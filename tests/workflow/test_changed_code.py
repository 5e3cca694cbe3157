"""Code that changes while the workflow runs: jobs refuse, and all results have one version."""

from __future__ import annotations

import time

import pytest
from killing import assert_same, orphans, steps_of
from workflow_copy import reduced

REFUSAL = "the code changed since the run was planned. Run again."


@pytest.mark.slow
def test_code_that_changes_during_a_run_and_back_leaves_results_of_one_version(undisturbed, tmp_path):
    workflow = reduced(tmp_path)
    process = workflow.start()
    while not steps_of(process.pid):
        time.sleep(0.05)
    with workflow.edited("scripts/nmer/plan/settings.py", "weight_decay: float = 1e-5", "weight_decay: float = 0.1"):
        assert process.wait(timeout=600) != 0
        # What was planned with the old default is refused; nothing was trained with the new one.
        assert not list(workflow.folder.glob("results/tiny/runs/**/model.safetensors"))
    said = (workflow.folder / "output").read_text()
    assert REFUSAL in said
    assert "Traceback" not in said
    finished = workflow.snakemake()
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert_same(workflow, undisturbed)
    assert workflow.due() == {}
    assert orphans(workflow) == []
