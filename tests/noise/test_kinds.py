"""Every noise kind has its documented distribution (SPEC 2.3, 2.4)."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from nmer.errors import ConfigError
from nmer.noise.kinds.autoregressive import autoregressive
from nmer.noise.kinds.drop_channels import drop_channels
from nmer.noise.kinds.drop_frames import drop_frames
from nmer.noise.kinds.gaussian import gaussian
from nmer.noise.kinds.impulse import impulse
from nmer.noise.kinds.missing import missing
from nmer.noise.kinds.uniform import uniform
from nmer.noise.kinds.zero import zero
from nmer.noise.registry import has_snr, level_option, noise_kinds, noise_power

SHAPE = (2000, 500)
COUNT = SHAPE[0] * SHAPE[1]
"""Tolerances below are five standard errors of this many draws."""


def test_gaussian_noise_is_standard_normal():
    eps = gaussian(SHAPE, np.random.default_rng(1)).astype(np.float64)
    assert eps.mean() == pytest.approx(0, abs=5 / math.sqrt(COUNT))
    assert eps.var() == pytest.approx(1, abs=5 * math.sqrt(2 / COUNT))
    assert (eps**4).mean() == pytest.approx(3, abs=5 * math.sqrt(96 / COUNT))
    for limit in (-2.0, -0.5, 1.0):
        expected = 0.5 * (1 + math.erf(limit / math.sqrt(2)))
        assert (eps < limit).mean() == pytest.approx(expected, abs=2.5 / math.sqrt(COUNT))


def test_impulses_are_plus_or_minus_one_in_three_elements_of_ten():
    eps = impulse(SHAPE, np.random.default_rng(2)).astype(np.float64)
    assert set(np.unique(eps)) == {-1.0, 0.0, 1.0}
    tolerance = 5 * math.sqrt(0.3 * 0.7 / COUNT)
    assert np.count_nonzero(eps) / COUNT == pytest.approx(0.3, abs=tolerance)
    assert eps.var() == pytest.approx(0.3, abs=tolerance)
    assert eps.mean() == pytest.approx(0, abs=5 * math.sqrt(0.3 / COUNT))
    assert (eps == 1).mean() == pytest.approx(0.15, abs=tolerance)


@pytest.mark.parametrize("frequency", [0.0, 0.05, 1.0])
def test_the_frequency_of_impulses_is_an_option(frequency):
    eps = impulse(SHAPE, np.random.default_rng(3), frequency=frequency)
    assert np.count_nonzero(eps) / COUNT == pytest.approx(frequency, abs=5 * math.sqrt(0.25 / COUNT))
    assert eps.mean() == pytest.approx(0, abs=5 / math.sqrt(COUNT))


@pytest.mark.parametrize("kind", [gaussian, impulse])
def test_elements_are_independent_of_their_neighbours_in_both_directions(kind):
    eps = kind(SHAPE, np.random.default_rng(4)).astype(np.float64)
    for shifted in (eps[1:] * eps[:-1], eps[:, 1:] * eps[:, :-1]):
        assert shifted.mean() == pytest.approx(0, abs=5 * eps.var() / math.sqrt(shifted.size))


@pytest.mark.parametrize("kind", [gaussian, impulse])
def test_noise_is_float32_of_the_requested_shape(kind):
    eps = kind((3, 2), np.random.default_rng(5))
    assert (eps.shape, eps.dtype) == ((3, 2), np.float32)


def test_the_power_of_impulses_makes_their_snr_5_23_db_better_than_its_label():
    assert noise_power(gaussian, {}) == 1
    assert noise_power(impulse, {}) == pytest.approx(0.3)
    assert -10 * math.log10(noise_power(impulse, {})) == pytest.approx(5.23, abs=0.005)
    assert noise_power(impulse, {"frequency": 0.1}) == pytest.approx(0.1)


def test_the_power_of_a_kind_that_does_not_state_it_is_measured():
    def uniform(shape, generator, *, width=1.0):
        return generator.uniform(-width, width, shape)

    assert noise_power(uniform, {"width": 3.0}) == pytest.approx(3.0, rel=0.01)
    assert noise_power(uniform, {}) == noise_power(uniform, {})


def test_the_draw_that_measures_power_is_fixed():
    key = int.from_bytes(hashlib.sha256(b'["noise power"]').digest()[:16], "little")
    drawn = np.random.Generator(np.random.Philox(key=key)).standard_normal((2**20, 1))
    assert noise_power(lambda shape, generator: generator.standard_normal(shape), {}) == (drawn**2).mean()


def test_uniform_noise_has_unit_power_and_is_flat():
    eps = uniform(SHAPE, np.random.default_rng(6)).astype(np.float64)
    assert np.abs(eps).max() <= math.sqrt(3) + 1e-6
    assert eps.var() == pytest.approx(1, abs=5 * math.sqrt(0.8 / COUNT))
    for limit in (-1.5, 0.0, 1.0):
        assert (eps < limit).mean() == pytest.approx((limit + math.sqrt(3)) / math.sqrt(12), abs=2.5 / math.sqrt(COUNT))
    assert noise_power(uniform, {}) == 1


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_autoregressive_noise_is_stationary_with_geometric_correlation(correlation):
    eps = autoregressive((60, 20_000), np.random.default_rng(7), correlation=correlation).astype(np.float64)
    assert eps.dtype == np.float64
    for frame in (0, 1, 59):
        assert eps[frame].var() == pytest.approx(1, abs=0.05)
    for lag in (1, 3):
        assert (eps[lag:] * eps[:-lag]).mean() == pytest.approx(correlation**lag, abs=0.01)
    assert (eps[:, 1:] * eps[:, :-1]).mean() == pytest.approx(0, abs=0.01)
    assert noise_power(autoregressive, {"correlation": correlation}) == 1


def test_autoregressive_noise_follows_its_recurrence():
    eps = autoregressive((5, 3), np.random.default_rng(8), correlation=0.7)
    innovations = np.random.default_rng(8).standard_normal((5, 3))
    expected = [innovations[0]]
    for drawn in innovations[1:]:
        expected.append(0.7 * expected[-1] + math.sqrt(1 - 0.49) * drawn)
    np.testing.assert_allclose(eps, expected, rtol=1e-5)
    assert eps.dtype == np.float32


VALUES = np.random.default_rng(9).normal(3, 1, (4000, 50)).astype(np.float32)


@pytest.mark.parametrize("kind", [zero, missing])
def test_zero_and_missing_return_zeros(kind):
    found = kind(VALUES, np.random.default_rng(0))
    assert (found.shape, found.dtype, found.any()) == (VALUES.shape, np.float32, False)


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_a_modality_is_missing_at_its_rate_and_missing_utterances_stay_missing_at_higher_rates(rate):
    lost = [not missing(VALUES[:2], np.random.default_rng(seed), rate=rate).any() for seed in range(400)]
    assert np.mean(lost) == pytest.approx(rate, abs=5 * math.sqrt(0.25 / 400))
    more = [not missing(VALUES[:2], np.random.default_rng(seed), rate=0.6).any() for seed in range(400)]
    assert all(after >= before for before, after in zip(lost, more, strict=True)) or rate > 0.6


def test_kinds_declare_the_option_that_is_their_level(tmp_path):
    declared = {name: level_option(noise_kinds.declaration(name)) for name in noise_kinds.shipped()}
    assert {name: option for name, option in declared.items() if option} == {
        "missing": "rate",
        "drop_frames": "share",
        "drop_channels": "share",
    }
    file = tmp_path / "own.py"
    file.write_text('@noise_kind("own", additive=False, level="shar")\ndef own(values, generator, *, share=0.5): ...\n')
    with pytest.raises(
        ConfigError, match=r"level of 'own' is 'shar', which is not one of its options. Did you mean 'share'"
    ):
        level_option(noise_kinds.declaration("own", str(file)))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_whole_frames_are_dropped_at_the_configured_share(share):
    found = drop_frames(VALUES, np.random.default_rng(1), share=share)
    lost = ~found.any(axis=1)
    assert lost.mean() == pytest.approx(share, abs=5 * math.sqrt(0.25 / len(VALUES)))
    np.testing.assert_array_equal(found[~lost], VALUES[~lost])


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_channels_are_dropped_in_every_frame(share):
    wide = VALUES.T.copy()
    found = drop_channels(wide, np.random.default_rng(2), share=share)
    lost = ~found.any(axis=0)
    assert lost.mean() == pytest.approx(share, abs=5 * math.sqrt(0.25 / wide.shape[1]))
    np.testing.assert_array_equal(found[:, ~lost], wide[:, ~lost])


def test_only_additive_kinds_have_an_snr():
    additive = {name for name in noise_kinds.shipped() if has_snr(noise_kinds.declaration(name))}
    assert additive == {"gaussian", "impulse", "uniform", "autoregressive"}
    assert set(noise_kinds.shipped()) - additive == {"zero", "missing", "drop_frames", "drop_channels"}
