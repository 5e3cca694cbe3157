"""After a kill at any time, a rerun gives the results of an undisturbed run."""

from __future__ import annotations

import pytest
from killing import survive
from workflow_copy import reduced


@pytest.mark.slow
@pytest.mark.parametrize("kills", [5, 30])
def test_a_run_killed_repeatedly_ends_like_an_undisturbed_one(undisturbed, tmp_path, kills):
    workflow = reduced(tmp_path)
    # Checkpoint every epoch, so that trainings of seconds resume like those of hours.
    with workflow.edited("scripts/nmer/training/loop.py", "CHECKPOINT_SECONDS = 30", "CHECKPOINT_SECONDS = 0"):
        killed = survive(workflow, undisturbed, kills, seed=kills)
    assert sum(killed.values()) == kills
    assert min(killed.values()) > 0
