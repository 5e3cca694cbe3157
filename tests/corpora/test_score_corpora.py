"""Corpora with the target score: layouts with scores return the written numbers; invalid ones are refused."""

from __future__ import annotations

import csv
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from test_csd import LISTS, contents, write
from test_mosei_variants import SPLITS, content, mmsa, save, sentiments
from written_corpora import DIMS, WRITERS, Arrays

from nmer.corpora.corpus import CorpusSettings, read_corpus
from nmer.corpora.store import FeatureStore

REAL_MOSI = Path(__file__).parents[2].parent / "shared/data/cmu_mosi"
each_layout = pytest.mark.parametrize("layout", list(WRITERS))


@pytest.fixture
def scored(arrays) -> Arrays:
    """The corpus of the generic layouts with thirty different scores."""
    arrays.columns["label"] = np.round(np.random.default_rng(1).uniform(-3, 3, arrays.count), 2).tolist()
    arrays.columns["split"] = ["train"] * 15 + ["val"] * 5 + ["test"] * 10
    return arrays


@each_layout
def test_a_numeric_column_of_labels_is_kept_exactly(tmp_path, step, scored, layout):
    described = step.build(WRITERS[layout](tmp_path / "corpus", scored), layout, dims=DIMS, target="score")
    with FeatureStore(step.output) as store:
        assert (store.target, store.classes) == ("score", [])
        assert store.labels.tolist() == scored.columns["label"]
    tested = scored.columns["label"][20:]
    assert described["folds"][0]["test"]["scores"]["max"] == max(tested)
    assert described["folds"][0]["test"]["scores"]["median"] == pytest.approx(np.median(tested), abs=1e-4)


@each_layout
def test_scores_in_a_classification_corpus_are_refused_with_the_key(tmp_path, step, scored, layout):
    output = step.refuse(WRITERS[layout](tmp_path / "corpus", scored), layout, dims=DIMS)
    assert "datasets.tiny.target: score" in output


def test_twenty_one_integers_are_refused_unless_named_as_classes(tmp_path, step, scored):
    scored.columns["label"] = [*range(21), *range(9)]
    path = WRITERS["npy_folder"](tmp_path / "corpus", scored)
    output = step.refuse(path, "npy_folder", dims=DIMS)
    assert "21 different numbers, more than 20" in output
    assert "datasets.tiny.classes" in output
    named = CorpusSettings.from_mapping(
        {"dataset": "x", "layout": "npy_folder", "classes": [f"c{number}" for number in range(21)]}
    )
    with read_corpus(path, named) as corpus:
        assert len(corpus.classes) == 21
    scored.columns["label"] = [*range(20), *range(10)]
    path = WRITERS["npy_folder"](tmp_path / "twenty", scored)
    with read_corpus(path, CorpusSettings.from_mapping({"dataset": "x", "layout": "npy_folder"})) as corpus:
        assert len(corpus.classes) == 20


def test_integers_with_gaps_are_refused_with_the_key(tmp_path, step, scored):
    scored.columns["label"] = [3 * number for number in range(30)]
    output = step.refuse(WRITERS["npy_folder"](tmp_path / "corpus", scored), "npy_folder", dims=DIMS)
    assert "30 different numbers" in output
    assert "datasets.tiny.target: score" in output


def test_stratified_folds_have_similar_scores(tmp_path, scored):
    path = WRITERS["npy_folder"](tmp_path / "corpus", scored)
    del scored.columns["split"]
    settings = CorpusSettings.from_mapping(
        {"dataset": "x", "layout": "npy_folder", "target": "score", "folds": 3, "options": {"protocol": "stratified"}}
    )
    with read_corpus(path, settings) as corpus:
        tested = [corpus.labels[fold["test"]] for fold in corpus.folds.values()]
        assert sorted(np.concatenate(tested)) == sorted(scored.columns["label"])
        assert np.ptp([part.mean() for part in tested]) < 1.5


BROKEN = {
    "text": ("good", "'good' in the column 'label' is not a finite number"),
    "nan": ("nan", "'nan' in the column 'label' is not a finite number"),
    "infinite": ("inf", "'inf' in the column 'label' is not a finite number"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_label_that_is_not_a_score_is_refused(tmp_path, step, scored, fault):
    scored.columns["label"][3], message = BROKEN[fault]
    output = step.refuse(WRITERS["npy_folder"](tmp_path / "corpus", scored), "npy_folder", dims=DIMS, target="score")
    assert message in output


def test_a_split_with_a_single_score_is_refused(tmp_path, step, scored):
    scored.columns["label"][15:20] = [1.5] * 5
    output = step.refuse(WRITERS["npy_folder"](tmp_path / "corpus", scored), "npy_folder", dims=DIMS, target="score")
    assert "the val split has fewer than 2 different scores: all of its 5 utterances are 1.5" in output


@pytest.mark.parametrize("variant", ["multibench", "mmsa"])
def test_the_sentiment_of_both_variants_of_a_pickle_is_the_score(tmp_path, step, variant):
    splits = content(dict.fromkeys(("audio", "vision", "text"), 6), np.random.default_rng(0))
    mmsa(splits)
    if variant == "multibench":
        for split in splits.values():
            split["labels"] = split.pop("regression_labels")[:, None, None]
    described = step.build(save(tmp_path, splits), "mosei_pickle", target="score")
    with FeatureStore(step.output) as store:
        expected = np.concatenate([sentiments(count) for count in SPLITS.values()])
        np.testing.assert_array_equal(store.labels, expected.astype(np.float64))
    assert described["notes"][-1] == "Target: a score from -3 to 3."


def table(path: Path, rows: dict[str, object], header: tuple[str, str] = ("id", "sentiment")) -> None:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows.items()])


def two_valued(tmp_path: Path) -> tuple[Path, dict[str, object]]:
    """Write a pickle with labels -1 and 1, and a table of scores of its utterances and one more."""
    splits = content(dict.fromkeys(("audio", "vision", "text"), 6), np.random.default_rng(0))
    for split in splits.values():
        split["labels"] = np.resize([-1.0, 1.0], len(split["id"]))
    ids = [name for split in splits.values() for name in split["id"]]
    return save(tmp_path, splits), {"other": 0.5} | {
        name: round(0.1 * row * (-1) ** row, 1) for row, name in enumerate(ids)
    }


def test_a_table_replaces_the_labels_and_keeps_the_split(tmp_path, step):
    path, rows = two_valued(tmp_path)
    table(tmp_path / "s.csv", rows)
    own = step.build(path, "mosei_pickle", target="score")
    assert any("have only 2 values (-1, 1)" in warning for warning in own["warnings"])
    with FeatureStore(step.output) as store:
        folds = store.fold(1)
    described = step.build(path, "mosei_pickle", target="score", options={"scores": "s.csv"})
    assert not any("values only" in warning for warning in described["warnings"])
    assert set(described["sources"]) == {"corpus.pkl", "s.csv"}
    with FeatureStore(step.output) as store:
        assert store.labels.tolist() == [rows[name] for name in store.ids]
        for split, index in store.fold(1).items():
            np.testing.assert_array_equal(index, folds[split])
    step.build(path, "mosei_pickle", options={"scores": "s.csv"})
    with FeatureStore(step.output) as store:
        assert store.labels.tolist() == [int(rows[name] >= 0) for name in store.ids]


def without(rows: dict, name: str) -> dict:
    return {key: value for key, value in rows.items() if key != name}


TABLES = {
    "an utterance without a row": (lambda rows: without(rows, "test0$_$1"), "1 of 8 utterances of a split have no row"),
    "a sentiment above 3": (lambda rows: rows | {"test0$_$1": 3.5}, "id 'test0$_$1' has sentiment 3.5, outside -3..3"),
    "a sentiment that is text": (lambda rows: rows | {"test0$_$1": "high"}, "'high' in the column 'sentiment'"),
}


@pytest.mark.parametrize("fault", TABLES)
def test_a_table_that_does_not_match_is_refused(tmp_path, step, fault):
    path, rows = two_valued(tmp_path)
    change, message = TABLES[fault]
    table(tmp_path / "s.csv", change(rows))
    assert message in step.refuse(path, "mosei_pickle", target="score", options={"scores": "s.csv"})


def test_a_missing_table_or_one_with_other_columns_is_refused(tmp_path, step):
    path, rows = two_valued(tmp_path)
    keys = {"target": "score", "options": {"scores": "s.csv"}}
    assert "s.csv: no such file. Correct the layout's option 'scores'" in step.refuse(path, "mosei_pickle", **keys)
    table(tmp_path / "s.csv", rows, ("id", "score"))
    assert "has no column 'sentiment'" in step.refuse(path, "mosei_pickle", **keys)


def test_the_sentiment_of_computational_sequences_is_the_score(tmp_path):
    streams = contents()
    write(tmp_path / "corpus", streams, LISTS)
    settings = CorpusSettings.from_mapping({"dataset": "x", "layout": "csd", "target": "score"})
    with read_corpus(tmp_path / "corpus", settings) as corpus:
        for name, label in zip(corpus.ids, corpus.labels, strict=True):
            video, row = name.removesuffix("]").split("[")
            assert label == np.float64(streams["labels"][video][0][int(row), 0])
        assert corpus.classes == []


@pytest.mark.skipif(not REAL_MOSI.exists(), reason=f"no {REAL_MOSI}")
def test_the_real_scores_agree_with_the_signs_of_the_real_pickle():
    options = {"dataset": "mosi", "layout": "mosei_pickle", "target": "score", "options": {"scores": "scores.csv"}}
    path = REAL_MOSI / "mosi_senti_data.pkl"
    content = pickle.loads(path.read_bytes())
    signs = np.concatenate([content[split]["labels"].reshape(-1) for split in ("train", "valid", "test")])
    with read_corpus(path, CorpusSettings.from_mapping(options)) as corpus:
        np.testing.assert_array_equal(corpus.labels >= 0, signs > 0)
        assert len(np.unique(corpus.labels)) > 20
        assert {split: len(rows) for split, rows in corpus.folds[1].items()} == {"train": 1228, "val": 219, "test": 752}


def test_the_store_of_classes_has_no_entry_for_the_target(tmp_path, step, arrays):
    arrays.columns["split"] = ["train"] * 15 + ["val"] * 5 + ["test"] * 10
    step.build(WRITERS["npy_folder"](tmp_path / "corpus", arrays), "npy_folder", dims=DIMS)
    with h5py.File(step.output) as file:
        assert set(file.attrs) == {"classes", "dims", "repairs", "sources"}
        assert file["utterance/label"].dtype == np.int64
