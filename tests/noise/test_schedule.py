"""The default schedule is the paper's: linear, spaced anew for every T (SPEC 2.1 and 11)."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from nmer.errors import ConfigError
from nmer.noise.schedule import Schedule

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
    assert Schedule().alpha_bar(steps) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("steps", [1, 2, 7, 60, 1000])
def test_alpha_bar_is_the_product_of_one_minus_beta(steps):
    product = math.prod(1 - (0.001 + t / (max(steps, 2) - 1) * 0.099) for t in range(steps))
    assert Schedule().alpha_bar(steps) == pytest.approx(product, rel=1e-10)


@pytest.mark.parametrize("steps", [2, 3, 60])
def test_every_chain_runs_from_beta_start_to_beta_end_in_equal_steps(steps):
    betas = Schedule(0.01, 0.3).betas(steps)
    assert (len(betas), betas[0], betas[-1]) == (steps, pytest.approx(0.01), pytest.approx(0.3))
    np.testing.assert_allclose(np.diff(betas), 0.29 / (steps - 1))


def test_a_chain_of_one_step_has_beta_start():
    assert Schedule().betas(1).tolist() == [0.001]
    assert Schedule(0.02, 0.5).alpha_bar(1) == pytest.approx(0.98)


def test_longer_chains_always_keep_less_of_the_signal():
    values = [Schedule().alpha_bar(steps) for steps in range(1, 400)]
    assert all(later < earlier for earlier, later in itertools.pairwise(values))


def diffusers_betas(shape: str, steps: int, start: float, end: float) -> list[float]:
    """Compute the betas from the formulas in the documentation of the library diffusers, one at a time."""
    if shape == "squaredcos_cap_v2":

        def bar(time: float) -> float:
            return math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2

        return [min(1 - bar((t + 1) / steps) / bar(t / steps), 0.999) for t in range(steps)]
    betas = []
    for t in range(steps):
        share = t / (steps - 1) if steps > 1 else 0.0
        if shape == "linear":
            betas.append(start + share * (end - start))
        elif shape == "scaled_linear":
            betas.append((start**0.5 + share * (end**0.5 - start**0.5)) ** 2)
        else:
            betas.append(start + (end - start) / (1 + math.exp(-(-6 + 12 * share))))
    return betas


@pytest.mark.parametrize("shape", ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"])
@pytest.mark.parametrize("steps", [1, 2, 7, 100, 1000])
def test_every_shape_has_its_published_betas(shape, steps):
    schedule = Schedule(0.002, 0.3, shape)
    expected = diffusers_betas(shape, steps, 0.002, 0.3)
    np.testing.assert_allclose(schedule.betas(steps), expected, rtol=1e-12, atol=1e-15)
    assert schedule.alpha_bar(steps) == pytest.approx(math.prod(1 - beta for beta in expected), rel=1e-9, abs=1e-300)


def test_a_fixed_chain_is_truncated_at_t():
    whole = diffusers_betas("linear", 1000, 0.0001, 0.02)
    schedule = Schedule(0.0001, 0.02, chain=1000)
    for steps in (1, 10, 999):
        assert schedule.alpha_bar(steps) == pytest.approx(math.prod(1 - beta for beta in whole[:steps]), rel=1e-10)
    # Golden: the DDPM chain of Ho et al. keeps 4.0358e-5 of the signal's power at its end.
    assert schedule.alpha_bar(1000) == pytest.approx(4.0358e-5, rel=1e-4)


def test_an_unknown_shape_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"noise[.]schedule: unknown schedule 'lineal'. Did you mean 'linear'"):
        Schedule(shape="lineal")
