"""Noise is added by the closed form, equal in distribution to Algorithm 1, and seeded by names (SPEC 2.2 to 2.6)."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from nmer.noise.corruption import CorruptionSettings, NoiseSource, add_noise, add_noise_iteratively
from nmer.noise.kinds.gaussian import gaussian
from nmer.noise.kinds.impulse import impulse
from nmer.noise.schedule import Schedule

DRAWS = 400_000


def source(**changes) -> NoiseSource:
    return NoiseSource(**{"kind": gaussian, "name": "gaussian", "dataset": "iemocap", "seed": 0} | changes)


def kurtosis(values: np.ndarray) -> float:
    centred = values - values.mean()
    return float((centred**4).mean() / (centred**2).mean() ** 2)


def test_noise_is_added_element_by_element_as_in_equation_3():
    generator = np.random.default_rng(0)
    values, eps = generator.standard_normal((2, 4, 3)).astype(np.float32)
    noisy = add_noise(values, eps, 0.36)
    for i in range(4):
        for j in range(3):
            assert noisy[i, j] == pytest.approx(0.6 * values[i, j] + 0.8 * eps[i, j], abs=1e-6)
    assert noisy.dtype == np.float32


def test_noise_acts_in_the_units_of_a_standardised_modality():
    generator = np.random.default_rng(1)
    mean, std = np.array([-3.0, 100.0, 0.0]), np.array([1.0, 20.0, 0.05])
    values = (mean + std * generator.standard_normal((6, 3))).astype(np.float32)
    eps = generator.standard_normal((6, 3)).astype(np.float32)
    noisy = add_noise(values, eps, 0.36, (mean, std))
    standardised = (values.astype(np.float64) - mean) / std
    np.testing.assert_allclose(noisy, mean + std * (0.6 * standardised + 0.8 * eps), rtol=1e-5, atol=1e-5)
    assert noisy.dtype == np.float32


def test_adding_noise_does_not_change_its_arguments():
    values, eps = np.ones((2, 2), np.float32), np.ones((2, 2), np.float32)
    add_noise(values, eps, 0.5)
    add_noise(values, eps, 0.5, (np.zeros(2), np.ones(2)))
    assert values.tolist() == eps.tolist() == [[1, 1], [1, 1]]


def test_additive_noise_without_a_level_is_refused():
    with pytest.raises(ValueError, match="kind 'gaussian' is additive"):
        source().corrupt(np.ones((2, 2), np.float32), "u", "a")


def test_algorithm_1_adds_noise_step_by_step():
    generator = np.random.default_rng(2)
    values = generator.standard_normal((2, 3))
    drawn = [generator.standard_normal((2, 3)) for _ in range(3)]
    expected = values
    for beta, eps in zip((0.001, 0.0505, 0.1), drawn, strict=True):
        expected = math.sqrt(1 - beta) * expected + math.sqrt(beta) * eps
    remaining = iter(drawn)
    found = add_noise_iteratively(values, 3, Schedule(), lambda _shape: next(remaining))
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("steps", [1, 5, 60])
def test_algorithm_1_with_gaussian_noise_has_the_mean_and_variance_of_the_closed_form(steps):
    generator = np.random.default_rng(3)
    start = np.tile([2.0, -1.0], (DRAWS // 2, 1))
    found = add_noise_iteratively(start, steps, Schedule(), generator.standard_normal)
    kept = float(np.prod(1 - np.linspace(0.001, 0.1, steps)))
    closed = add_noise(start.astype(np.float32), gaussian(start.shape, generator), kept)
    error = math.sqrt((1 - kept) / (DRAWS / 2))
    for sample in (found, closed):
        np.testing.assert_allclose(sample.mean(axis=0), math.sqrt(kept) * np.array([2, -1]), atol=5 * error)
        np.testing.assert_allclose(sample.var(axis=0), 1 - kept, rtol=5 * math.sqrt(2 / (DRAWS / 2)))
        assert kurtosis(sample[:, 0]) == pytest.approx(3, abs=0.06)


def test_a_variance_of_2_2_becomes_1_05208_after_60_steps():
    kept = Schedule().alpha_bar(60)
    assert 2.2 * kept + 1 - kept == pytest.approx(1.05208, abs=5e-6)
    generator = np.random.default_rng(4)
    clean = (math.sqrt(2.2) * generator.standard_normal((DRAWS, 1))).astype(np.float32)
    tolerance = 5 * 1.05208 * math.sqrt(2 / DRAWS)
    assert add_noise(clean, gaussian(clean.shape, generator), kept).var() == pytest.approx(1.05208, abs=tolerance)
    iterated = add_noise_iteratively(clean, 60, Schedule(), generator.standard_normal)
    assert iterated.var() == pytest.approx(1.05208, abs=tolerance)


def test_the_closed_form_and_algorithm_1_differ_for_impulse_noise():
    generator, steps = np.random.default_rng(5), 60
    zero = np.zeros((DRAWS, 1), np.float32)
    kept = Schedule().alpha_bar(steps)
    closed = add_noise(zero, impulse(zero.shape, generator), kept).astype(np.float64)
    iterated = add_noise_iteratively(zero, steps, Schedule(), lambda shape: impulse(shape, generator))
    assert closed.var() == pytest.approx(0.3 * (1 - kept), rel=0.02)
    assert iterated.var() == pytest.approx(0.3 * (1 - kept), rel=0.02)
    assert kurtosis(closed) == pytest.approx(3.33, abs=0.03)
    assert kurtosis(iterated) == pytest.approx(3.02, abs=0.03)


def test_elements_without_an_impulse_are_scaled_too():
    values = np.full((50, 4), 2.0, np.float32)
    eps = impulse(values.shape, np.random.default_rng(6))
    noisy = add_noise(values, eps, 0.36)
    np.testing.assert_allclose(noisy[eps == 0], 1.2, rtol=1e-6)
    np.testing.assert_allclose(noisy[eps == 1], 2.0, rtol=1e-6)
    np.testing.assert_allclose(noisy[eps == -1], 0.4, rtol=1e-6)


def test_the_noise_of_an_utterance_is_drawn_from_philox_under_its_names():
    text = '["noise",7,"iemocap","Ses01F_impro01_F000","a","gaussian",2]'
    key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
    expected = np.random.Generator(np.random.Philox(key=key)).standard_normal((5, 3), dtype=np.float32)
    np.testing.assert_array_equal(source(seed=7).eps("Ses01F_impro01_F000", "a", (5, 3), draw=2), expected)


def test_the_noise_of_an_utterance_does_not_depend_on_its_neighbours_or_on_order():
    one, other = source(), source()
    alone = other.eps("u7", "v", (4, 3))
    before = [one.eps(f"u{number}", "v", (9, 2)) for number in range(20)][7]
    np.testing.assert_array_equal(one.eps("u7", "v", (4, 3)), alone)
    np.testing.assert_array_equal(one.eps("u7", "v", (9, 2)), before)


def test_the_default_seed_is_0():
    named = {"kind": gaussian, "name": "gaussian", "dataset": "iemocap"}
    expected = source(seed=0).eps("u1", "a", (2, 3))
    for found in (NoiseSource(**named), NoiseSource.load("gaussian", "iemocap"), source()):
        np.testing.assert_array_equal(found.eps("u1", "a", (2, 3)), expected)
    assert CorruptionSettings("iemocap", "gaussian").seed == 0


BASE = {"source": {}, "utterance": "u1", "modality": "a", "draw": 0}


@pytest.mark.parametrize(
    "change",
    [
        {"utterance": "u2"},
        {"modality": "v"},
        {"draw": 1},
        {"source": {"seed": 1}},
        {"source": {"dataset": "mosei"}},
        {"source": {"name": "mine"}},
    ],
    ids=str,
)
def test_each_name_of_the_key_changes_the_noise(change):
    def eps(source, utterance, modality, draw):
        return globals()["source"](**source).eps(utterance, modality, (400, 50), draw)

    first, second = eps(**BASE), eps(**BASE | change)
    assert not np.array_equal(first, second)
    # Independent, not only different: the correlation of 20,000 pairs is within five standard errors of 0.
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] == pytest.approx(0, abs=5 / math.sqrt(first.size))


def test_options_reach_the_kind_without_changing_the_key():
    rare = source(kind=impulse, name="impulse", options={"frequency": 0.1}).eps("u1", "a", (300, 50))
    often = source(kind=impulse, name="impulse").eps("u1", "a", (300, 50))
    assert np.count_nonzero(rare) / rare.size == pytest.approx(0.1, abs=0.02)
    assert np.count_nonzero(often[rare != 0]) == np.count_nonzero(rare)
