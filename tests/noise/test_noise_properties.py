"""Property tests of noise of any kind on any features and names, against independent formulas (SPEC 2)."""

from __future__ import annotations

import hashlib
import json
import math
import random
from unittest import mock

import h5py
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nmer.corpora import streaming
from nmer.corpora.corpus import Corpus, CorpusSettings
from nmer.corpora.store import FeatureStore
from nmer.corpora.store_writer import write_store
from nmer.errors import ConfigError
from nmer.noise.corruption import NoiseSource, add_noise, add_noise_iteratively
from nmer.noise.features import corrupt_features
from nmer.noise.registry import noise_kinds, noise_power
from nmer.noise.schedule import SHAPES, Schedule
from nmer.noisy_embeddings.noisy import corrupt_modality

SHAPE = st.tuples(st.integers(1, 9), st.integers(1, 6))
NAME = st.text('aZ09_-.[] "\\\n/äß漢Ω\u0301😀', min_size=1, max_size=8)
"""Names from a few characters of every kind: with all of Unicode, hypothesis first lists it for seconds."""
ALPHA_BAR = st.floats(1e-6, 1 - 1e-6)
SEED = st.integers(0, 2**32)
OPTIONS = {
    "impulse": st.fixed_dictionaries({}, optional={"frequency": st.floats(0.01, 1)}),
    "autoregressive": st.fixed_dictionaries({}, optional={"correlation": st.floats(0, 0.999)}),
    "drop_frames": st.fixed_dictionaries({}, optional={"share": st.floats(0, 1)}),
    "drop_channels": st.fixed_dictionaries({}, optional={"share": st.floats(0, 1)}),
}
ADDITIVE = ("gaussian", "impulse", "uniform", "autoregressive")


def features(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Return (frames, dim) float32 with a different mean and deviation in every dimension."""
    drawn = np.random.default_rng(seed)
    centre, scale = drawn.normal(0, 10, shape[1]), np.exp(drawn.normal(0, 2, shape[1]))
    return (centre + scale * drawn.standard_normal(shape)).astype(np.float32)


def rounding(*values: np.ndarray) -> float:
    """Return the rounding error to expect of some operations on float32 of this size."""
    return 1e-6 * max(np.abs(each).max() for each in values)


@st.composite
def sources(draw: st.DrawFn, kinds: tuple[str, ...] | None = None) -> NoiseSource:
    """Any built-in kind with any of its options, under any dataset and seed."""
    kind = draw(st.sampled_from(kinds or noise_kinds.shipped()))
    options = draw(OPTIONS.get(kind, st.just({})))
    return NoiseSource.load(kind, draw(NAME), draw(SEED), options)


def naive_eps(source: NoiseSource, utterance: str, modality: str, shape: tuple[int, int], draw: int) -> np.ndarray:
    """Draw Gaussian noise from the documented key."""
    names = ["noise", source.seed, source.dataset, utterance, modality, source.name, draw]
    text = json.dumps(names, ensure_ascii=False, separators=(",", ":"))
    key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
    return np.random.Generator(np.random.Philox(key=key)).standard_normal(shape, dtype=np.float32)


@given(sources(), SHAPE, NAME, st.sampled_from("avl"), st.integers(0, 5), ALPHA_BAR, st.booleans(), SEED)
def test_any_kind_keeps_shape_and_type_and_does_not_depend_on_earlier_draws(
    source, shape, utterance, modality, draw, alpha_bar, standardised, seed
):
    values = features(shape, seed)
    space = (values.mean(axis=0), values.std(axis=0) + 1) if standardised else None
    before = values.copy()
    noisy = source.corrupt(values, utterance, modality, alpha_bar, space, draw)
    assert (noisy.shape, noisy.dtype) == (shape, np.float32)
    assert np.isfinite(noisy).all()
    np.testing.assert_array_equal(values, before)
    source.corrupt(features((3, 2), seed + 1), "another", modality, alpha_bar, draw=draw)
    np.testing.assert_array_equal(source.corrupt(values, utterance, modality, alpha_bar, space, draw), noisy)


@given(sources(("zero", "missing", "drop_frames", "drop_channels")), SHAPE, SEED)
def test_a_kind_without_an_snr_keeps_elements_or_sets_them_to_zero(source, shape, seed):
    values = features(shape, seed)
    found = source.corrupt(values, "u", "v")
    kept = found != 0
    np.testing.assert_array_equal(found[kept], values[kept])
    if source.name == "drop_frames":
        assert (kept.all(axis=1) | ~kept.any(axis=1)).all()
    elif source.name == "drop_channels":
        assert (kept.all(axis=0) | ~kept.any(axis=0)).all()
    else:
        assert not kept.any()


@given(sources(ADDITIVE))
def test_the_declared_power_of_a_kind_equals_the_power_of_its_noise_in_every_frame(source):
    count = 20_000
    squares = np.square(source.eps("u", "a", (3, count)).astype(np.float64))
    power = noise_power(source.kind, source.options)
    assert abs(squares.mean(axis=1) - power).max() <= 6 * (squares.std() + 1e-3) / math.sqrt(count)


NUMBERS = arrays(np.float32, (4, 3), elements=st.floats(-1e3, 1e3, width=32))


@given(NUMBERS, NUMBERS, ALPHA_BAR)
def test_noise_is_added_by_the_closed_form_in_the_units_of_the_corruption_space(values, eps, alpha_bar):
    signal, noise = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
    plain = signal * values.astype(np.float64) + noise * eps
    np.testing.assert_allclose(add_noise(values, eps, alpha_bar), plain, rtol=1e-5, atol=1e-3)
    mean, std = np.array([0.0, -50.0, 7.0]), np.array([1.0, 0.25, 30.0])
    in_units = (values.astype(np.float64) - mean) / std
    expected = mean + std * (signal * in_units + noise * eps)
    np.testing.assert_allclose(add_noise(values, eps, alpha_bar, (mean, std)), expected, rtol=1e-5, atol=0.05)


@given(st.integers(1, 80), st.sampled_from(sorted(SHAPES)), st.floats(1e-4, 0.1), st.floats(0.1, 0.9))
def test_the_steps_of_a_chain_compose_to_the_closed_form(steps, shape, start, end):
    # The clean features and the noise of each step are different unit vectors, so each share can be read directly.
    schedule = Schedule(start, end, shape)
    units = iter(np.eye(steps + 1)[1:])
    found = add_noise_iteratively(np.eye(steps + 1)[0], steps, schedule, lambda _shape: next(units))
    betas = schedule.betas(steps)
    assert found[0] == pytest.approx(math.sqrt(schedule.alpha_bar(steps)), rel=1e-9)
    assert np.square(found[1:]).sum() == pytest.approx(1 - schedule.alpha_bar(steps), rel=1e-9)
    later = [math.prod(1 - betas[step + 1 :]) for step in range(steps)]
    np.testing.assert_allclose(found[1:], np.sqrt(betas * later), rtol=1e-9)


LENGTHS = st.lists(st.integers(1, 9), min_size=2, max_size=7)


@given(sources(ADDITIVE), LENGTHS, st.integers(-40, 20), st.booleans(), SEED)
def test_features_in_memory_have_the_reported_snr_in_any_order(source, lengths, target_db, standardise, seed):
    drawn = random.Random(seed)
    clean = {f"ü{number}": features((length, 3), seed + number) for number, length in enumerate(lengths)}
    about = {"dataset": source.dataset, "modality": "l", "seed": source.seed, "options": source.options}
    found = corrupt_features(clean, source.name, target_db, standardise=standardise, **about)
    frames = np.concatenate(list(clean.values())).astype(np.float64)
    spread = frames.std(axis=0) if standardise else 1.0
    variance = (frames / spread).var() if not standardise else ((frames - frames.mean(axis=0)) / spread).var()
    assert found.variance == pytest.approx(variance, rel=1e-9)
    ratio = found.alpha_bar * variance / (1 - found.alpha_bar)
    assert found.attained_db == pytest.approx(10 * math.log10(ratio), abs=1e-8)
    power = {"impulse": source.options.get("frequency", 0.3)}.get(source.name, 1.0)
    assert found.effective_db == pytest.approx(10 * math.log10(ratio / power), abs=1e-8)
    # Draw the same noise again, by its names.
    eps = np.concatenate([source.eps(name, "l", values.shape) for name, values in clean.items()]).astype(np.float64)
    if eps.any():
        assert found.measured_db == pytest.approx(10 * math.log10(ratio / np.square(eps).mean()), abs=1e-4)
    centre = frames.mean(axis=0) if standardise else 0.0
    signal, noise = math.sqrt(found.alpha_bar), math.sqrt(1 - found.alpha_bar)
    expected = centre + signal * (frames - centre) + noise * spread * eps
    noisy = np.concatenate(list(found.utterances.values()))
    np.testing.assert_allclose(noisy, expected, rtol=1e-6, atol=rounding(frames, expected))
    order = drawn.sample(list(clean), len(clean))
    again = corrupt_features(
        {name: clean[name] for name in order}, source.name, target_db, standardise=standardise, **about
    )
    assert list(again.utterances) == order
    for name, values in found.utterances.items():
        # The statistics of the corruption space are sums, whose last digit may depend on the order.
        np.testing.assert_allclose(again.utterances[name], values, rtol=1e-5 if standardise else 0, atol=0)


@given(sources(ADDITIVE), st.floats(-1e3, 1e3, width=32), SHAPE)
def test_constant_features_are_refused(source, value, shape):
    with pytest.raises(ConfigError, match="constant"):
        corrupt_features({"u": np.full(shape, value)}, source.name, -10, dataset="d", modality="a")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("properties")


def write(path, clean: list[np.ndarray], names: list[str], standardised: bool):
    """A feature store whose three modalities are the same."""
    everyone = np.arange(len(clean))
    corpus = Corpus(
        ids=names,
        labels=everyone % 2,
        speakers=names,
        classes=["no", "yes"],
        dims=dict.fromkeys("avl", clean[0].shape[1]),
        lengths=dict.fromkeys("avl", np.array([len(values) for values in clean])),
        folds={1: dict.fromkeys(("train", "val", "test"), everyone)},
        features=lambda _modality, index: clean[index],
    )
    write_store(corpus, CorpusSettings("d", "x", standardize=("v",) if standardised else ()), path)


@settings(max_examples=15)
@given(st.data(), LENGTHS, st.integers(1, 5), st.booleans(), ALPHA_BAR, SEED)
def test_noisy_embeddings_are_the_closed_form_for_any_blocks_and_threads(
    folder, data, lengths, dim, standardised, alpha_bar, seed
):
    clean = [features((length, dim), seed + number) for number, length in enumerate(lengths)]
    names = data.draw(st.lists(NAME, min_size=len(clean), max_size=len(clean)))
    assume(sum(lengths) > 1)
    write(folder / "features.h5", clean, names, standardised)
    source = NoiseSource.load("gaussian", "Δ", seed)
    level = {"alpha_bar": str(alpha_bar), "variance": "1", "T": ""}
    caches = []
    for block, threads in ((10**6, 1), (data.draw(st.integers(1, 400)), data.draw(st.integers(1, 3)))):
        with (
            mock.patch.object(streaming, "BLOCK_BYTES", block),
            FeatureStore(folder / "features.h5") as store,
            h5py.File(folder / "noisy.h5", "w") as output,
        ):
            corrupt_modality(store, output, "v", source, level, draws=2, threads=threads)
            caches.append([output["v/values"][()], output["v/values_draw1"][()]])
    for alone, together in zip(*caches, strict=True):
        np.testing.assert_array_equal(alone, together)
    frames = np.concatenate(clean).astype(np.float64)
    centre = frames.mean(axis=0) if standardised else 0.0
    # A constant dimension keeps its units (SPEC 2.6).
    spread = np.where(frames.std(axis=0) > 0, frames.std(axis=0), 1.0) if standardised else 1.0
    for draw, found in enumerate(caches[0]):
        eps = [naive_eps(source, name, "v", values.shape, draw) for name, values in zip(names, clean, strict=True)]
        expected = centre + math.sqrt(alpha_bar) * (frames - centre)
        expected = expected + math.sqrt(1 - alpha_bar) * spread * np.concatenate(eps)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=rounding(frames, expected))
