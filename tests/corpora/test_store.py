"""The feature store holds what the corpus has, and statistics that a naive computation confirms."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from nmer.corpora.corpus import CorpusSettings, read_corpus
from nmer.corpora.store import FeatureStore, create_values, write_store
from nmer.errors import DataError

MODALITIES = ("a", "v", "l")


@pytest.fixture(scope="module", params=["iemocap_mmin", "mosei_pickle"])
def stored(request, tiny, tmp_path_factory):
    """A corpus and the store written from it."""
    settings = CorpusSettings.from_mapping({"dataset": "tiny", "layout": request.param})
    path = tmp_path_factory.mktemp("store") / "x.h5"
    with read_corpus(tiny[request.param], settings) as corpus:
        write_store(corpus, settings, path, {"file": "digest"})
        with FeatureStore(path) as store:
            yield corpus, settings, store


def test_a_store_gives_back_the_corpus(stored):
    corpus, _settings, store = stored
    assert (store.ids, store.speakers, store.classes) == (corpus.ids, corpus.speakers, corpus.classes)
    assert (store.dims, store.sources) == (corpus.dims, {"file": "digest"})
    np.testing.assert_array_equal(store.labels, corpus.labels)
    assert store.folds == sorted(corpus.folds)
    for number in store.folds:
        for split, index in store.fold(number).items():
            np.testing.assert_array_equal(index, corpus.folds[number][split])
    for m in MODALITIES:
        assert store.values(m).dtype == np.float32
        assert store.values(m).chunks is None
        for index in range(len(corpus.ids)):
            expected = np.asarray(corpus.features(m, index), np.float32)
            np.testing.assert_array_equal(store.utterance(m, index), expected)
            assert store.offset(m)[index + 1] - store.offset(m)[index] == len(expected)


def test_both_variances_are_those_over_all_elements_in_the_corruption_space(stored):
    _corpus, settings, store = stored
    for m in MODALITIES:
        frames = store.values(m)[()].astype(np.float64)
        kept = np.array([any(value != 0 for value in row) for row in frames])
        if m in settings.standardize:
            mean, deviation = frames.mean(axis=0), frames.std(axis=0)
            np.testing.assert_allclose(store.corruption_space(m), (mean, deviation), rtol=1e-6)
            frames = (frames - mean) / deviation
        else:
            assert store.corruption_space(m) is None
        assert store.variance(m, "stored") == pytest.approx(frames.var(), rel=1e-6)
        assert store.variance(m, "valid_frames") == pytest.approx(frames[kept].var(), rel=1e-6)


def test_normalisation_is_the_releases_own_and_else_that_of_the_training_split(iemocap, tmp_path):
    settings = CorpusSettings.from_mapping({"dataset": "tiny", "layout": "iemocap_mmin"})
    with h5py.File(iemocap / "A/comparE_mean_std.h5", "r+") as file:
        file["3/mean"][...] = 7
    for name in ("given.h5", "computed.h5"):
        with read_corpus(iemocap, settings) as corpus:
            write_store(corpus, settings, tmp_path / name)
        (iemocap / "A/comparE_mean_std.h5").unlink(missing_ok=True)
    with FeatureStore(tmp_path / "given.h5") as given, FeatureStore(tmp_path / "computed.h5") as computed:
        np.testing.assert_array_equal(given.normalisation(3, "a")[0], np.full(6, 7.0))
        frames = np.concatenate([given.utterance("a", i) for i in given.fold(2)["train"]]).astype(np.float64)
        for store in (given, computed):
            np.testing.assert_allclose(store.normalisation(2, "a"), (frames.mean(0), frames.std(0)), rtol=1e-5)
            assert store.normalisation(2, "v") is None


def test_a_constant_dimension_has_deviation_one(iemocap, tmp_path):
    settings = CorpusSettings.from_mapping({"dataset": "tiny", "layout": "iemocap_mmin"})
    (iemocap / "A/comparE_mean_std.h5").unlink()
    with h5py.File(iemocap / "A/comparE.h5", "r+") as file:
        for name in file:
            file[name][:, 2] = 12345.678
    with read_corpus(iemocap, settings) as corpus:
        write_store(corpus, settings, tmp_path / "x.h5")
    with FeatureStore(tmp_path / "x.h5") as store:
        assert store.corruption_space("a")[1][2] == 1
        assert store.normalisation(1, "a")[1][2] == 1
        assert store.variance("a", "stored") == pytest.approx(5 / 6)


def test_a_dim_missing_fold_or_another_file_is_a_clear_error(stored, tmp_path):
    with pytest.raises(DataError, match="no fold 99"):
        stored[2].fold(99)
    whole = stored[2].path.read_bytes()
    for name, content in (("truncated.h5", whole[: len(whole) // 2]), ("garbage.h5", b"x" * 100)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            FeatureStore(tmp_path / name)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        create_values(file, "a", 3, 2)
    with pytest.raises(DataError, match=r"other[.]h5: not a feature store"):
        FeatureStore(tmp_path / "other.h5")
    with pytest.raises(DataError, match=r"missing[.]h5"):
        FeatureStore(tmp_path / "missing.h5")
