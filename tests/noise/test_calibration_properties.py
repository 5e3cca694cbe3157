"""Property tests of schedules and calibration against brute force over independent formulas (SPEC 2)."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmer.noise.calibration import TOLERANCE_DB, calibrate, calibrate_row, exact_alpha_bar, snr_db
from nmer.noise.schedule import SHAPES, Schedule

LONGEST = 900
"""More steps than any of these schedules needs."""

VARIANCE = st.floats(-3, 2.5).map(lambda exponent: 10**exponent)
TARGET = st.integers(-40, 20)
POWER = st.floats(0.01, 4)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    """Draw any shape with any betas, spaced anew for every T or as a fixed chain that is long enough."""
    start, end = draw(st.floats(1e-4, 0.3)), draw(st.floats(0.1, 0.9))
    chain = draw(st.none() | st.integers(LONGEST, 1200))
    return Schedule(min(start, end), end, draw(st.sampled_from(sorted(SHAPES))), chain)


def reference_betas(schedule: Schedule, steps: int) -> np.ndarray:
    """The first betas of a schedule, from the formulas of SPEC 2.1 and 2.8."""
    length = schedule.chain or steps
    start, end, place = schedule.beta_start, schedule.beta_end, np.arange(length)
    share = place / max(length - 1, 1)
    if schedule.shape == "squaredcos_cap_v2":
        kept = [np.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2 for u in (place / length, (place + 1) / length)]
        betas = np.minimum(1 - kept[1] / kept[0], 0.999)
    elif schedule.shape == "scaled_linear":
        betas = (math.sqrt(start) + share * (math.sqrt(end) - math.sqrt(start))) ** 2
    elif schedule.shape == "sigmoid":
        betas = start + (end - start) / (1 + np.exp(6 - 12 * share))
    else:
        betas = start + share * (end - start)
    return betas[:steps]


def reference_snr(schedule: Schedule, variance: float, steps: int) -> float:
    """Return the SNR in dB after a number of steps (SPEC 2.5)."""
    logarithm = float(np.log10(1 - reference_betas(schedule, steps)).sum())
    return 10 * (logarithm + math.log10(variance) - math.log10(1 - 10**logarithm))


def search(schedule: Schedule, variance: float, target: float) -> np.ndarray:
    """Return the SNRs of 1, 2, 3, … steps until 3 dB below the target."""
    reached: list[float] = []
    while not reached or reached[-1] > target - 3:
        reached.append(reference_snr(schedule, variance, len(reached) + 1))
    return np.array(reached)


@given(schedules(), st.integers(1, LONGEST))
def test_betas_follow_the_formulas_and_increase_and_alpha_bar_is_their_product(schedule, steps):
    betas, expected = schedule.betas(steps), reference_betas(schedule, steps)
    assert (betas.shape, betas.dtype) == ((steps,), np.float64)
    np.testing.assert_allclose(betas, expected, rtol=1e-9, atol=1e-14)
    assert (np.diff(betas) > -1e-15).all()
    assert 0 < betas[0] <= betas[-1] < 1
    assert schedule.alpha_bar(steps) == pytest.approx(float(np.prod(1 - expected)), rel=1e-8, abs=1e-300)


@given(schedules(), VARIANCE)
def test_each_additional_step_lowers_the_snr(schedule, variance):
    reached = [snr_db(schedule.alpha_bar(steps), variance) for steps in range(1, 60)]
    assert all(later < earlier for earlier, later in itertools.pairwise(reached))
    expected = [reference_snr(schedule, variance, steps) for steps in range(1, 60)]
    np.testing.assert_allclose(reached, expected, atol=1e-6)


@given(schedules(), VARIANCE, TARGET)
def test_no_t_is_nearer_to_the_target_than_the_chosen_one(schedule, variance, target):
    reached = search(schedule, variance, target)
    chosen = calibrate(target, variance, schedule)
    assert chosen.attained_db == pytest.approx(reached[chosen.steps - 1], abs=1e-6)
    assert abs(chosen.attained_db - target) == pytest.approx(np.abs(reached - target).min(), abs=1e-6)
    assert chosen.misses(target) == (abs(chosen.attained_db - target) > 1)


@given(schedules(), VARIANCE, st.floats(-80, 80))
def test_an_exact_level_attains_its_target_under_any_schedule(schedule, variance, target):
    level = calibrate(target, variance, schedule, "exact_abar")
    assert (level.steps, level.attained_db, level.alpha_bar) == (None, target, exact_alpha_bar(target, variance))
    assert 0 < level.alpha_bar < 1
    assert level.alpha_bar / (1 - level.alpha_bar) == pytest.approx(10 ** (target / 10) / variance, rel=1e-6)
    assert not level.misses(target)


@given(schedules(), VARIANCE, TARGET, POWER)
def test_effective_matching_accounts_for_the_power_of_the_noise_and_nominal_does_not(schedule, variance, target, power):
    effective, sought = calibrate_row(target, variance, schedule, "exact_abar", power, "effective")
    signal, noise = effective.alpha_bar * variance, (1 - effective.alpha_bar) * power
    assert signal / noise == pytest.approx(10 ** (target / 10), rel=1e-6)
    assert sought == pytest.approx(effective.attained_db)
    for mode in ("integer_T", "exact_abar"):
        nominal = calibrate_row(target, variance, schedule, mode, power, "nominal")
        assert nominal == calibrate_row(target, variance, schedule, mode)
        # With unit power, the default of a kind, both choices agree.
        assert calibrate_row(target, variance, schedule, mode, match="effective") == nominal


@given(schedules(), VARIANCE, TARGET, POWER)
def test_effective_matching_chooses_the_integer_t_nearest_to_the_label(schedule, variance, target, power):
    level, _sought = calibrate_row(target, variance, schedule, "integer_T", power, "effective")
    gain = 10 * math.log10(power)
    miss = np.abs(search(schedule, variance, target + gain) - gain - target).min()
    if target == 0 and miss > TOLERANCE_DB:
        assert level.steps is None
        miss = 0.0
    assert abs(level.attained_db - gain - target) == pytest.approx(miss, abs=1e-6)


@given(schedules(), VARIANCE)
def test_only_at_0_db_an_integer_t_that_misses_is_replaced_by_the_exact_level(schedule, variance):
    miss = np.abs(search(schedule, variance, 0)).min()
    level, target = calibrate_row(0, variance, schedule)
    assert target == 0
    assert (level.steps is None) == (miss > 1)
    assert abs(level.attained_db) == pytest.approx(0 if miss > 1 else miss, abs=1e-6)
    assert calibrate_row(3, variance, schedule)[0].steps is not None
