"""Calibration finds the paper's T and reports the attained SNR (SPEC 2.5, 2.6, 11)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nmer.errors import ConfigError
from nmer.noise.calibration import calibrate, calibrate_row, exact_alpha_bar, snr_db
from nmer.noise.schedule import Schedule

LEVELS = (0, -10, -20, -30, -40)
TABLE = {
    151: [(96, 0.02), (140, -9.99), (184, -19.99), (228, -29.97), (272, -39.96)],
    2.19: [(22, 0.06), (60, -10.03), (103, -19.96), (147, -29.97), (191, -39.96)],
    1.0: [(13, 0.11), (46, -10.04), (88, -19.94), (132, -29.97), (176, -39.96)],
    0.3: [(5, -0.00), (27, -10.15), (66, -20.08), (109, -29.96), (153, -39.97)],
    0.1: [(2, -0.50), (13, -9.89), (46, -20.04), (88, -29.94), (132, -39.97)],
    0.03: [(2, -5.73), (5, -10.00), (27, -20.15), (66, -30.08), (109, -39.96)],
    0.01: [(1, 10.0), (2, -10.5), (13, -19.89), (46, -30.04), (88, -39.94)],
}
CELLS = [(variance, target, *cell) for variance, row in TABLE.items() for target, cell in zip(LEVELS, row, strict=True)]


@pytest.mark.parametrize(("variance", "target", "steps", "attained"), CELLS)
def test_t_and_the_attained_snr_equal_the_reference_table(variance, target, steps, attained):
    level = calibrate(target, variance, Schedule())
    assert level.steps == steps
    # The table has two decimals, one where the miss is 10 dB.
    assert level.attained_db == pytest.approx(attained, abs=0.05 if variance == 0.01 and steps < 3 else 0.0051)


@pytest.mark.parametrize(("variance", "steps"), [(150.8, 140), (2.204, 60), (0.0300, 5)])
def test_the_papers_mosei_example_at_minus_10_db_is_reproduced(variance, steps):
    assert calibrate(-10, variance, Schedule()).steps == steps


@pytest.mark.parametrize(("low", "high", "steps"), [(147.2, 154.5, 140), (2.148, 2.265, 60), (0.02655, 0.03327, 5)])
def test_only_these_variances_reproduce_the_papers_example(low, high, steps):
    inside = [calibrate(-10, v, Schedule()).steps for v in np.linspace(low * 1.001, high * 0.999, 9)]
    assert set(inside) == {steps}
    assert calibrate(-10, low * 0.997, Schedule()).steps < steps < calibrate(-10, high * 1.003, Schedule()).steps


@pytest.mark.parametrize(
    ("steps", "expected"), [(13, 0.1103), (46, -10.0363), (88, -19.9378), (132, -29.9661), (176, -39.9589)]
)
def test_the_snr_of_unit_variance_has_its_golden_value(steps, expected):
    assert snr_db(Schedule().alpha_bar(steps), 1.0) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("variance", [0.004, 0.7, 33.0])
@pytest.mark.parametrize("target", [7, -3, -25])
def test_no_other_t_is_nearer_to_the_target(variance, target):
    chosen = calibrate(target, variance, Schedule())
    misses = []
    for steps in range(1, 400):
        kept = np.prod(1 - np.linspace(0.001, 0.1, steps))
        misses.append(abs(10 * np.log10(kept * variance / (1 - kept)) - target))
    assert chosen.steps == 1 + int(np.argmin(misses))
    assert abs(chosen.attained_db - target) == pytest.approx(min(misses))


@pytest.mark.parametrize("variance", [0.03, 1.0, 151.0])
@pytest.mark.parametrize("target", [0, -10, -40])
def test_the_exact_alpha_bar_meets_its_target(variance, target):
    alpha_bar = exact_alpha_bar(target, variance)
    assert 10 * math.log10(alpha_bar * variance / (1 - alpha_bar)) == pytest.approx(target, abs=1e-9)
    level = calibrate(target, variance, Schedule(), "exact_abar")
    assert (level.steps, level.alpha_bar, level.attained_db) == (None, alpha_bar, target)
    assert not level.misses(target)


def test_the_snr_equals_the_one_measured_on_noisy_features():
    generator = np.random.default_rng(0)
    clean, noise = 3 + 1.4 * generator.standard_normal(400_000), generator.standard_normal(400_000)
    alpha_bar = Schedule().alpha_bar(60)
    measured = np.var(math.sqrt(alpha_bar) * clean) / np.var(math.sqrt(1 - alpha_bar) * noise)
    assert snr_db(alpha_bar, float(clean.var())) == pytest.approx(10 * math.log10(measured), abs=0.03)


def test_a_miss_of_more_than_one_db_is_reported():
    assert calibrate(0, 0.03, Schedule()).misses(0)
    assert not calibrate(0, 0.1, Schedule()).misses(0)


@pytest.mark.parametrize("variance", [0.0, -1.0, float("nan")])
@pytest.mark.parametrize("mode", ["integer_T", "exact_abar"])
def test_a_constant_modality_is_refused(variance, mode):
    with pytest.raises(ConfigError, match="constant"):
        calibrate(-10, variance, Schedule(), mode)


@pytest.mark.parametrize("mode", ["exact", "steps", ""])
def test_an_unknown_mode_is_refused_with_the_valid_ones(mode):
    with pytest.raises(ConfigError, match=rf"unknown mode '{mode}'.*integer_T, exact_abar"):
        calibrate(-10, 1.0, Schedule(), mode)


def test_in_a_tie_the_smaller_t_is_chosen():
    for steps in range(2, 40):
        above, below = (snr_db(Schedule().alpha_bar(t), 1.0) for t in (steps, steps + 1))
        target = (above + below) / 2
        if above - target == target - below:
            assert calibrate(target, 1.0, Schedule()).steps == steps
            break
    else:
        pytest.fail("no target is exactly between two levels")


def test_a_target_out_of_reach_is_refused():
    with pytest.raises(ConfigError, match="No T"):
        calibrate(-10, 1.0, Schedule(1e-9, 1e-9))


@pytest.mark.parametrize("variance", [0.03, 1.0, 151.0])
def test_effective_matching_gives_every_kind_the_same_power_of_noise(variance):
    power = 0.3
    nominal, _target = calibrate_row(-10, variance, Schedule(), "exact_abar", power, "nominal")
    effective, target = calibrate_row(-10, variance, Schedule(), "exact_abar", power, "effective")
    # Signal power over noise power, with noise of mean square 0.3.
    ratio = [level.alpha_bar * variance / ((1 - level.alpha_bar) * power) for level in (nominal, effective)]
    assert 10 * math.log10(ratio[1]) == pytest.approx(-10, abs=1e-9)
    assert 10 * math.log10(ratio[0]) == pytest.approx(-10 + 5.2288, abs=1e-4)
    assert target == pytest.approx(-15.2288, abs=1e-4)


def test_an_unknown_match_is_refused():
    with pytest.raises(ConfigError, match=r"noise[.]calibration[.]match: unknown choice 'power'"):
        calibrate_row(-10, 1.0, Schedule(), match="power")


def test_a_target_beyond_a_fixed_chain_is_refused():
    assert calibrate(-3, 1.0, Schedule(0.0001, 0.02, chain=1000)).steps < 1000
    with pytest.raises(ConfigError, match="No T up to 100 brings variance 1 down to -10 dB"):
        calibrate(-10, 1.0, Schedule(0.0001, 0.02, chain=100))


def test_a_fixed_chain_reaches_its_last_step_and_none_beyond():
    schedule = Schedule(0.0001, 0.02, chain=100)
    reached = snr_db(schedule.alpha_bar(100), 1.0)
    assert calibrate(reached + 1e-6, 1.0, schedule).steps == 100
    with pytest.raises(ConfigError, match="No T up to 100"):
        calibrate(reached - 1e-6, 1.0, schedule)
