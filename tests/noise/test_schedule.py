"""The schedule is the paper's: linear, laid anew for every T (SPEC 2.1 and 11)."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from nmer.noise.schedule import LinearSchedule

ALPHA_BAR = {
    1: 0.999,
    2: 0.8991,
    3: 0.85369545,
    5: 0.769126405,
    10: 0.592301647,
    20: 0.351193826,
    46: 0.0902213063,
    60: 0.0433994672,
    100: 0.00536303397,
    140: 0.00066272773,
    200: 2.87886414e-05,
    300: 1.5453628e-07,
}


@pytest.mark.parametrize(("steps", "expected"), ALPHA_BAR.items())
def test_alpha_bar_has_its_golden_value(steps, expected):
    assert LinearSchedule().alpha_bar(steps) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("steps", [1, 2, 7, 60, 1000])
def test_alpha_bar_is_the_product_of_one_minus_beta(steps):
    product = math.prod(1 - (0.001 + t / (max(steps, 2) - 1) * 0.099) for t in range(steps))
    assert LinearSchedule().alpha_bar(steps) == pytest.approx(product, rel=1e-10)


@pytest.mark.parametrize("steps", [2, 3, 60])
def test_every_chain_runs_from_beta_start_to_beta_end_in_equal_steps(steps):
    betas = LinearSchedule(0.01, 0.3).betas(steps)
    assert (len(betas), betas[0], betas[-1]) == (steps, pytest.approx(0.01), pytest.approx(0.3))
    np.testing.assert_allclose(np.diff(betas), 0.29 / (steps - 1))


def test_a_chain_of_one_step_has_beta_start():
    assert LinearSchedule().betas(1).tolist() == [0.001]
    assert LinearSchedule(0.02, 0.5).alpha_bar(1) == pytest.approx(0.98)


def test_longer_chains_always_keep_less_of_the_signal():
    values = [LinearSchedule().alpha_bar(steps) for steps in range(1, 400)]
    assert all(later < earlier for earlier, later in itertools.pairwise(values))
