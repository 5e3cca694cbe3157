"""Anything may be killed at any time: what is run again afterwards ends in the results of an undisturbed run."""

from __future__ import annotations

import pytest
from killing import survive
from workflow_copy import Workflow

FULL = """\
    datasets: [tiny_iemocap, tiny_mosei]
    systems: [men, nmer]
    noise: [gaussian]
    snr_db: [-10]
    repeats: 2
    folds: 1
    training:
      constant_epochs: 1
      decay_epochs: 1
      pretraining: { constant_epochs: 1, decay_epochs: 1 }
"""
REDUCED = """\
    datasets: [tiny_mosei]
    systems: [men, nmer]
    noise: [gaussian]
    snr_db: [-10]
    repeats: 2
    folds: 1
    tables: [2]
    figures: [robustness]
    training:
      constant_epochs: 8
      decay_epochs: 2
      pretraining: { constant_epochs: 8, decay_epochs: 2 }
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Workflow:
    workflow = reduced(tmp_path_factory.mktemp("undisturbed"))
    finished = workflow.snakemake()
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return workflow


def reduced(folder) -> Workflow:
    workflow = Workflow(folder / "nmer")
    workflow.reduce(FULL, REDUCED)
    return workflow


@pytest.mark.parametrize("kills", [5, pytest.param(30, marks=pytest.mark.slow)])
def test_a_run_killed_again_and_again_ends_as_an_undisturbed_one(undisturbed, tmp_path, kills):
    workflow = reduced(tmp_path)
    # At every epoch, so that trainings of seconds are resumed as those of hours are.
    with workflow.edited("scripts/nmer/experiment/training.py", "CHECKPOINT_SECONDS = 30", "CHECKPOINT_SECONDS = 0"):
        killed = survive(workflow, undisturbed, kills, seed=kills)
    assert sum(killed.values()) == kills
    assert min(killed.values()) > 0
