"""A feature store returns any corpus, repaired, with NumPy's statistics, for any size of blocks."""

from __future__ import annotations

from dataclasses import dataclass
from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nmer.corpora import streaming
from nmer.corpora.corpus import Corpus, CorpusSettings, read_corpus
from nmer.corpora.repair import repair
from nmer.corpora.store import FeatureStore
from nmer.corpora.store_writer import write_store
from nmer.corpora.streaming import utterance_blocks
from nmer.errors import DataError

MODALITIES = ("a", "v", "l")
NAME = st.text('aZ09_-.[] "\\\n/äß漢Ω\u0301😀', min_size=1, max_size=8)
VALUES = (0.0, 0.0, 1.0, -1.0, 0.1, 7.25, -3e4, float("nan"), float("inf"), float("-inf"), 1e300)
"""Few values, so rows of zeros and constant dimensions occur; the last is beyond float32."""


@dataclass
class Made:
    """A corpus in memory. frames: modality -> (frames, dim) per utterance. folds: as in ``Corpus``."""

    ids: list[str]
    frames: dict[str, list[np.ndarray]]
    folds: dict[int, dict[str, np.ndarray]]

    def corpus(self) -> Corpus:
        """Return the corpus like a reader."""
        return Corpus(
            ids=self.ids,
            labels=np.arange(len(self.ids)) % 2,
            speakers=self.ids[::-1],
            classes=["no", "yes"],
            dims={m: self.frames[m][0].shape[1] for m in MODALITIES},
            lengths={m: np.array([len(values) for values in self.frames[m]]) for m in MODALITIES},
            folds=self.folds,
            features=lambda modality, index: self.frames[modality][index],
        )

    def stored(self, modality: str) -> list[np.ndarray]:
        """Return utterances as float32 with non-finite values replaced by 0, one value at a time."""
        return [
            np.array([[float(as_float32(x)) if np.isfinite(as_float32(x)) else 0.0 for x in row] for row in values])
            for values in self.frames[modality]
        ]


def as_float32(value: float) -> np.float32:
    with np.errstate(over="ignore"):
        return np.float32(value)


@st.composite
def corpora(draw: st.DrawFn) -> Made:
    """Two to six utterances of one frame or some in every modality, and one or two folds that train on any of them."""
    count = draw(st.integers(2, 6))
    frames = {}
    for m in MODALITIES:
        dim, kind = draw(st.integers(1, 3)), draw(st.sampled_from([np.float32, np.float64]))
        lengths = draw(st.lists(st.integers(1, 4), min_size=count, max_size=count))
        with np.errstate(over="ignore"):
            frames[m] = [
                draw(arrays(np.float64, (length, dim), elements=st.sampled_from(VALUES))).astype(kind)
                for length in lengths
            ]
    everyone = np.arange(count)
    trained = draw(st.lists(st.sets(st.integers(0, count - 1), min_size=1), min_size=1, max_size=2))
    folds = {k: {"train": np.array(sorted(one)), "val": everyone, "test": everyone} for k, one in enumerate(trained, 1)}
    return Made(draw(st.lists(NAME, min_size=count, max_size=count, unique=True)), frames, folds)


def spread(frames: np.ndarray) -> np.ndarray:
    """Standard deviation per dimension, 1 where all frames agree (SPEC 2.6)."""
    return np.where((frames == frames[0]).all(axis=0), 1.0, frames.std(axis=0))


def count_kinds(values: list[np.ndarray]) -> dict[str, int]:
    everything = [as_float32(x) for frames in values for x in frames.ravel()]
    return {
        "nan": sum(bool(np.isnan(x)) for x in everything),
        "+inf": sum(bool(x == np.inf) for x in everything),
        "-inf": sum(bool(x == -np.inf) for x in everything),
    }


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("properties") / "x.h5"


@given(corpora(), st.integers(1, 120), st.sets(st.sampled_from(MODALITIES)))
def test_a_store_returns_any_corpus_with_the_statistics_of_its_frames(path, made, block, standardised):
    stored = {m: made.stored(m) for m in MODALITIES}
    everything = {m: np.concatenate(stored[m]) for m in MODALITIES}
    corpus_settings = CorpusSettings("made", "x", standardize=tuple(standardised))
    with mock.patch.object(streaming, "BLOCK_BYTES", block):
        if any((frames == frames[0]).all() for frames in everything.values()):
            with pytest.raises(DataError, match="the same in all frames"):
                write_store(made.corpus(), corpus_settings, path)
            return
        write_store(made.corpus(), corpus_settings, path)
    with FeatureStore(path) as store:
        assert (store.ids, store.speakers) == (made.ids, made.ids[::-1])
        assert store.folds == sorted(made.folds)
        for m, frames in everything.items():
            for index, expected in enumerate(stored[m]):
                np.testing.assert_array_equal(store.utterance(m, index), expected)
            assert store.repairs[m] == count_kinds(made.frames[m])
            assert store.zero_utterances(m) == sum(not values.any() for values in stored[m])
            assert store.constant_dimensions(m) == (frames == frames[0]).all(axis=0).sum()
            units = (frames - frames.mean(axis=0)) / spread(frames) if m in standardised else frames
            valid = units[frames.any(axis=1)]
            assert store.variance(m) == pytest.approx(units.var(), rel=1e-9)
            assert store.variance(m, "valid_frames") == pytest.approx(valid.var(), rel=1e-9, abs=1e-9 * units.var())
            for number, fold in made.folds.items():
                found = store.normalisation(number, m)
                if m not in standardised:
                    assert found is None
                    continue
                training = np.concatenate([stored[m][index] for index in fold["train"]])
                # Sums of squares are of distances to a frame that may be far from those of a fold.
                far = np.abs(frames).max()
                np.testing.assert_allclose(found[0], training.mean(axis=0), rtol=1e-9, atol=1e-13 * far)
                np.testing.assert_allclose(found[1] ** 2, spread(training) ** 2, rtol=1e-9, atol=1e-13 * far**2)


@settings(max_examples=8)
@given(corpora())
def test_a_store_read_as_a_corpus_makes_the_same_store(path, made):
    first = CorpusSettings("made", "x", standardize=())
    assume(all(len({tuple(row) for row in np.concatenate(made.stored(m)).tolist()}) > 1 for m in MODALITIES))
    write_store(made.corpus(), first, path)
    again = CorpusSettings.from_mapping(
        {"dataset": "made", "layout": "ragged_hdf5", "options": {"protocol": "given"}, "classes": ["no", "yes"]}
    )
    with read_corpus(path, again) as corpus:
        write_store(corpus, again, path.with_name("again.h5"))
    with FeatureStore(path) as one, FeatureStore(path.with_name("again.h5")) as other:
        assert (one.ids, one.speakers, one.folds) == (other.ids, other.speakers, other.folds)
        np.testing.assert_array_equal(one.labels, other.labels)
        for m in MODALITIES:
            np.testing.assert_array_equal(one.offset(m), other.offset(m))
            np.testing.assert_array_equal(one.values(m), other.values(m))
            assert one.variance(m) == other.variance(m)


TYPES = st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.int64, np.bool_])


@given(TYPES.flatmap(lambda kind: arrays(kind, st.tuples(st.integers(0, 4), st.integers(1, 3)))))
def test_values_of_any_type_are_repaired_without_changing_the_input(values):
    before = values.copy()
    repaired, counts = repair(values)
    assert (repaired.dtype, repaired.shape) == (np.float32, values.shape)
    np.testing.assert_array_equal(values, before)
    for found, original in zip(repaired.ravel(), values.ravel(), strict=True):
        wanted = as_float32(original)
        assert found == (wanted if np.isfinite(wanted) else 0)
    assert counts == count_kinds([values])


@given(st.lists(st.integers(0, 30), min_size=1, max_size=20), st.integers(1, 40))
def test_blocks_partition_the_utterances_and_are_as_long_as_possible(lengths, most):
    blocks = list(utterance_blocks(np.cumsum([0, *lengths]), most))
    assert [index for first, last in blocks for index in range(first, last)] == list(range(len(lengths)))
    for first, last in blocks:
        assert sum(lengths[first:last]) <= most or last == first + 1
        assert last == len(lengths) or sum(lengths[first : last + 1]) > most
