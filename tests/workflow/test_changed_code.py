"""Jobs refuse code that changes during a run, so all results have one version."""

from __future__ import annotations

import time

import pytest
from killing import assert_same, orphans, steps_of
from workflow_copy import reduced

REFUSAL = "the code changed since the run was planned. Run again."


@pytest.mark.slow
def test_code_changed_and_restored_during_a_run_leaves_results_of_one_version(undisturbed, tmp_path):
    workflow = reduced(tmp_path)
    process = workflow.start()
    while not steps_of(process.pid):
        time.sleep(0.05)
    with workflow.edited("scripts/nmer/plan/settings.py", "weight_decay: float = 1e-5", "weight_decay: float = 0.1"):
        assert process.wait(timeout=600) != 0
        # Jobs planned with the old default are refused; nothing was trained with the new one.
        assert not list(workflow.folder.glob("results/tiny/runs/**/model.safetensors"))
    output = (workflow.folder / "output").read_text()
    assert REFUSAL in output
    assert "Traceback" not in output
    finished = workflow.snakemake()
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert_same(workflow, undisturbed)
    assert workflow.due() == {}
    assert orphans(workflow) == []
