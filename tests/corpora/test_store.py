"""The feature store contains the corpus and statistics equal to a naive computation."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from nmer.corpora import streaming
from nmer.corpora.corpus import Corpus, CorpusSettings, read_corpus
from nmer.corpora.store import FeatureStore
from nmer.corpora.store_writer import write_store
from nmer.corpora.streaming import create_values, utterance_blocks
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


def test_a_store_returns_the_corpus(stored):
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
            raw = np.asarray(corpus.features(m, index), np.float32)
            expected = np.where(np.isfinite(raw), raw, 0)
            np.testing.assert_array_equal(store.utterance(m, index), expected)
            assert store.offset(m)[index + 1] - store.offset(m)[index] == len(expected)


def test_both_variances_are_over_all_elements_in_the_corruption_space(stored):
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


def test_normalisation_comes_from_the_release_or_the_training_split(iemocap, tmp_path):
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


# Generated corpora with folds, lengths and defects of every kind ------------------------------------------------------

COUNT = 60


def frames_of(modality: str, index: int) -> np.ndarray:
    """Return (1 to 40, 3) frames: a float64 of very different scales, v and l float32 with zero frames at the end."""
    random = np.random.default_rng([index, "avl".index(modality)])
    frames = random.standard_normal((int(random.integers(1, 41)), 3)) * [1, 1e3, 1e-2] + [5, -1e5, 0]
    if modality == "a":
        return frames
    frames[len(frames) // 2 + 1 :] = 0
    return frames.astype(np.float32)


def made_corpus(features=frames_of, **given: object) -> Corpus:
    """Return a corpus of ``COUNT`` utterances with four folds of random training utterances."""
    random = np.random.default_rng(1)
    folds = {}
    for number in range(1, 5):
        order = random.permutation(COUNT)
        folds[number] = {"train": order[:40], "val": order[40:50], "test": order[50:]}
    return Corpus(
        ids=[f"u{index}" for index in range(COUNT)],
        labels=np.arange(COUNT) % 2,
        speakers=["s"] * COUNT,
        classes=["no", "yes"],
        dims=dict.fromkeys(MODALITIES, 3),
        lengths={m: np.array([len(frames_of(m, index)) for index in range(COUNT)]) for m in MODALITIES},
        folds=folds,
        features=features,
        files={m: f"{m}.bin" for m in MODALITIES},
        **given,
    )


def write_made(path: Path, corpus: Corpus, standardize: tuple[str, ...] = ("a", "l")) -> Path:
    write_store(corpus, CorpusSettings("made", "iemocap_mmin", standardize=standardize), path)
    return path


def test_settings_standardise_nothing_by_default(tmp_path):
    write_store(made_corpus(), CorpusSettings("made", "iemocap_mmin"), tmp_path / "x.h5")
    with FeatureStore(tmp_path / "x.h5") as store:
        assert {store.corruption_space(m) for m in MODALITIES} == {None}
        assert {store.normalisation(store.folds[0], m) for m in MODALITIES} == {None}


def test_the_statistics_of_a_fold_are_those_of_its_training_frames(tmp_path):
    with FeatureStore(write_made(tmp_path / "x.h5", made_corpus())) as store:
        for m in ("a", "l"):
            for number in store.folds:
                training = np.concatenate([store.utterance(m, i) for i in store.fold(number)["train"]])
                training = training.astype(np.float64)
                mean, deviation = store.normalisation(number, m)
                np.testing.assert_allclose(mean, training.mean(axis=0), rtol=1e-12)
                np.testing.assert_allclose(deviation, training.std(axis=0), rtol=1e-12)
        assert store.normalisation(1, "v") is None


def test_runs_of_utterances_fill_blocks_and_a_long_utterance_is_a_run_by_itself():
    offset = np.cumsum([0, 3, 4, 1, 20, 2, 2, 2, 5])
    assert list(utterance_blocks(offset, 8)) == [(0, 3), (3, 4), (4, 7), (7, 8)]
    assert list(utterance_blocks(offset, 7)) == [(0, 2), (2, 3), (3, 4), (4, 7), (7, 8)]
    assert list(utterance_blocks(offset, 1)) == [(i, i + 1) for i in range(8)]
    assert list(utterance_blocks(offset, 100)) == [(0, 8)]


# A block contains less than an utterance, one or a few, some, exactly the first seven of a, or everything.
@pytest.mark.parametrize("frames", [1, 10, 50, int(sum(len(frames_of("a", i)) for i in range(7))), 10**6])
def test_the_size_of_the_blocks_does_not_matter(tmp_path, monkeypatch, frames):
    whole = write_made(tmp_path / "whole.h5", made_corpus())
    monkeypatch.setattr(streaming, "BLOCK_BYTES", 12 * frames)
    blocks = write_made(tmp_path / "blocks.h5", made_corpus())
    with h5py.File(whole) as one, h5py.File(blocks) as other:
        for m in MODALITIES:
            expected = np.concatenate([frames_of(m, i) for i in range(COUNT)]).astype(np.float32)
            np.testing.assert_array_equal(other[m]["values"], expected)
            assert dict(other[m].attrs) == pytest.approx(dict(one[m].attrs), rel=1e-12)
        found, again = ([f[f"fold/3/norm/a/{name}"][()] for name in ("mean", "std")] for f in (one, other))
        np.testing.assert_allclose(found, again, rtol=1e-12)


def test_constant_dimensions_and_utterances_of_zeros_are_counted_after_repair(tmp_path):
    def features(modality: str, index: int) -> np.ndarray:
        frames = frames_of(modality, index)
        if modality == "v":
            frames[:, 1] = np.nan
        if modality == "l" and index in (4, 17, 59):
            frames[:] = np.where(np.arange(3) == 1, -np.inf, 0)
        return frames

    with FeatureStore(write_made(tmp_path / "x.h5", made_corpus(features))) as store:
        assert {m: store.constant_dimensions(m) for m in MODALITIES} == {"a": 0, "v": 1, "l": 0}
        assert {m: store.zero_utterances(m) for m in MODALITIES} == {"a": 0, "v": 0, "l": 3}
        assert store.repairs["l"]["-inf"] == sum(len(frames_of("l", index)) for index in (4, 17, 59))
        assert store.repairs["v"]["nan"] == len(store.values("v"))


@pytest.mark.parametrize("value", [np.nan, 0.0, 7.25])
@pytest.mark.parametrize("standardize", [(), ("v",)])
def test_a_constant_modality_is_refused_and_nothing_is_written(tmp_path, value, standardize):
    def features(modality: str, index: int) -> np.ndarray:
        frames = frames_of(modality, index)
        return np.full_like(frames, value) if modality == "v" else frames

    with pytest.raises(DataError, match=r"v[.]bin: .*no information.*no SNR can be defined"):
        write_made(tmp_path / "x.h5", made_corpus(features), standardize)
    assert list(tmp_path.iterdir()) == []


def test_modalities_normalised_by_the_reader_are_not_standardised_again(tmp_path):
    with FeatureStore(write_made(tmp_path / "x.h5", made_corpus(normalised=("a",)))) as store:
        assert store.normalisation(1, "a") is None
        assert store.corruption_space("a") is None
        assert store.corruption_space("l") is not None
        assert store.variance("a") == pytest.approx(store.values("a")[()].astype(np.float64).var(), rel=1e-12)


def test_an_utterance_of_another_shape_than_declared_is_refused_and_nothing_is_written(tmp_path):
    def features(modality: str, index: int) -> np.ndarray:
        frames = frames_of(modality, index)
        return frames[:1, :1] if (modality, index) == ("l", 33) else frames

    with pytest.raises(DataError, match=r"l[.]bin: utterance 'u33' has shape \(1, 1\)"):
        write_made(tmp_path / "x.h5", made_corpus(features))
    assert list(tmp_path.iterdir()) == []


# Damage ---------------------------------------------------------------------------------------------------------------


def test_an_invalid_store_is_a_clear_error(stored, tmp_path):
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
