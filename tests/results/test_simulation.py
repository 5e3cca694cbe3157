"""Intervals, tests, ranks and claims have nominal error rates in simulations with known truth (SPEC 16)."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import numpy as np
import pytest
from synthetic_results import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
simulation: ModuleType = importlib.import_module("simulation")
sys.path.pop(0)

LOWEST, HIGHEST, MOST_REJECTED, MOST_REFUTED = 0.93, 0.98, 0.06, 0.03
HIGHEST_OF_TWO_REPEATS = 0.995
"""Two repeats on one fold leave one degree of freedom: intervals are wider than necessary (docs/statistics.md)."""
FEW = 100
"""Simulations of the fast tests; they estimate shares to about 2 points."""

settings = pytest.mark.parametrize(
    "setting", simulation.SETTINGS, ids=lambda each: f"{each.name}, SD {each.training_sd}, R {each.repeats}"
)


@pytest.mark.slow
@settings
def test_intervals_contain_the_truth_and_a_true_null_is_rarely_rejected(setting):
    found = simulation.simulate(setting, simulation.COUNT)
    assert len(found.rejected) >= 2000
    if setting.repeats == 1:
        assert not found.is_printed
        assert not found.rejected.any()
        return
    # Some designs come close to the upper limit: allow for two standard errors of the simulation.
    highest = HIGHEST + 2 * np.sqrt(HIGHEST * (1 - HIGHEST) / simulation.COUNT)
    if setting.repeats == 2 and setting.folds == 1:
        highest = HIGHEST_OF_TWO_REPEATS
    for share in found.coverage():
        assert share >= LOWEST
        assert share <= highest or setting.training_sd <= 0.5
    assert found.rejected.mean() <= MOST_REJECTED


@pytest.mark.slow
@pytest.mark.parametrize("correlation", simulation.CORRELATIONS)
def test_neither_rank_test_finds_false_differences_however_correlated_the_levels_of_a_fold(correlation):
    assert max(simulation.simulate_ranks(correlation, simulation.COUNT)) <= MOST_REJECTED


@pytest.mark.slow
@pytest.mark.parametrize("columns", simulation.CLAIMED)
def test_a_true_best_is_rarely_refuted(columns):
    assert simulation.simulate_best(columns, simulation.COUNT) <= MOST_REFUTED


@pytest.mark.parametrize("setting", [simulation.SETTINGS[9], simulation.SETTINGS[14], simulation.SETTINGS[15]])
def test_a_few_simulations_have_about_nominal_coverage(setting):
    assert (setting.repeats, setting.folds) in ((3, 1), (3, 10))
    found = simulation.simulate(setting, FEW)
    assert found.is_printed
    assert min(found.coverage()) >= 0.88
    assert found.rejected.mean() <= 0.12
    assert np.abs(found.differences).mean() < found.half_widths.mean()


def test_one_repeat_prints_no_interval_and_rejects_nothing():
    (setting,) = [each for each in simulation.SETTINGS if each.repeats == 1]
    found = simulation.simulate(setting, 5)
    assert np.isnan(found.half_widths).all()
    assert not found.rejected.any()


def test_a_few_simulations_of_ranks_and_of_a_true_best_rarely_refute():
    assert max(simulation.simulate_ranks(0.8, FEW)) <= 0.12
    assert simulation.simulate_best(8, FEW // 4) <= 0.12


def test_a_real_difference_is_detected():
    setting = simulation.SETTINGS[9]
    found = simulation.simulate(setting, FEW)
    # The same experiments with a lead of twice the half-width.
    lead = 2 * found.half_widths.mean()
    assert (found.differences + lead > found.half_widths).mean() > 0.9


def test_the_smallest_detectable_difference_is_found_in_80_percent_of_experiments():
    random = np.random.default_rng(0)
    estimates = random.normal(size=20_000)
    halves = np.full(20_000, 1.959964)
    found = simulation.Found(halves > 0, estimates, halves, halves < 0)
    # A z test of a standard normal estimate: 1.96 + 0.84 standard errors.
    assert simulation.smallest_difference(found) == pytest.approx(2.8016, abs=0.03)


def test_the_table_of_power_shows_no_test_for_one_repeat():
    corpus, spread, *cells = simulation.smallest_differences("CMU-MOSI", 1.0, 10)
    assert (corpus, spread, cells[0]) == ("CMU-MOSI", "1", "no test")
    assert float(cells[1]) > float(cells[3]) > 0
