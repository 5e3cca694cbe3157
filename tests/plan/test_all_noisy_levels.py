"""``all_noisy.snr_db`` of an experiment: the levels of the regime all_noisy and of Table 5."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from shipped import shipped_config

from nmer.errors import ConfigError
from nmer.plan.plan import Plan

NMER = {"datasets": ["tiny_iemocap"], "systems": ["men", "nmer", "majority"], "snr_db": [-10, -40]}


def plan(**changes: object) -> Plan:
    config = shipped_config() | {"experiment": "tiny"}
    config["experiments"]["tiny"] |= NMER | changes
    return Plan(config)


def trained(experiment: Plan) -> set[tuple[str, str, float | None]]:
    jobs = (job for job in experiment.trainings() if job.system in experiment.systems)
    return {(job.system, job.regime, job.corruption and job.corruption.snr_db) for job in jobs}


def test_other_levels_are_not_trained_or_evaluated_all_noisy_and_nothing_else_changes():
    every, listed = plan(), plan(all_noisy={"snr_db": [-10]})
    assert trained(every) - trained(listed) == {("nmer", "all_noisy", -40)}
    assert trained(listed) <= trained(every)
    left_out = {(system, regime, noise.snr_db) for _, system, regime, noise in every.evaluations()}
    left_out -= {(system, regime, noise.snr_db) for _, system, regime, noise in listed.evaluations()}
    assert left_out == {("nmer", "all_noisy", -40), ("majority", "all_noisy", -40)}


def test_only_outputs_that_show_the_levels_depend_on_them():
    figures = {"figures": ["robustness", "recall", "conditions", "training", "calibration", "figure3"]}
    every, listed = plan(**figures), plan(**figures, all_noisy={"snr_db": [-10]})
    tables = {table for table in range(1, 6) if every.table_settings(table) != listed.table_settings(table)}
    assert tables == {5}
    assert json.loads(listed.table_settings(5))["all_noisy_snr_db"] == [-10]
    drawn = [SimpleNamespace(figure=name) for name in every.drawings]
    redrawn = {w.figure for w in drawn if every.figure_settings(w) != listed.figure_settings(w)}
    assert redrawn == {"conditions_tiny_iemocap"}
    assert every.scored_settings(4) == listed.scored_settings(4)
    assert every.tables_settings() == listed.tables_settings()
    for one in (every, listed):
        assert one.display_settings(table=4).all_noisy_snr_db == tuple(one.all_noisy_snr_db)  # of the report


def test_unimodal_systems_keep_their_levels():
    systems = {"systems": ["nmer", "unimodal_a"], "tables": [4, 5], "unimodal": {"snr_db": [0, -40]}}
    noisy = trained(plan(**systems, all_noisy={"snr_db": [-10]}))
    levels = {(system, level) for system, regime, level in noisy if regime == "all_noisy"}
    assert levels == {("nmer", -10), ("unimodal_a", 0), ("unimodal_a", -40)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"all_noisy": {"snr_db": [-20]}}, "-20 dB is not run. The reference noise 'gaussian' has -10, -40"),
        (
            {"all_noisy": {"snr_db": [-10]}, "noise": ["impulse", "zero"], "snr_db": {"impulse": [-30]}},
            "-10 dB is not run. The reference noise 'impulse' has -30",
        ),
        (
            {"all_noisy": {"snr_db": [-10]}, "noise": ["zero"], "snr_db": {}},
            "-10 dB is not run. The reference noise 'zero' has no SNR",
        ),
        (
            {"all_noisy": {"snr_db": [-10]}, "systems": ["nmer"], "train_at": "mixed"},
            "has no effect with train_at or test_at",
        ),
        (
            {"all_noisy": {"snr_db": [-10]}, "systems": ["nmer"], "test_at": [-10]},
            "has no effect with train_at or test_at",
        ),
        ({"all_noisy": {"snr_db": []}}, "should be non-empty|is too short|at least one"),
        ({"all_noisy": {"rate": [0.5]}}, "unknown key 'rate'"),
    ],
)
def test_levels_that_are_not_run_or_have_no_effect_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message) as caught:
        plan(**changes)
    assert "experiments.tiny.all_noisy" in str(caught.value)
