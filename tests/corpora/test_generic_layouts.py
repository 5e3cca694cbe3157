"""Bring your own corpus: both generic layouts against the arrays they were written from, and their folds."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from sklearn.model_selection import LeaveOneGroupOut
from written_corpora import CLASSES, DIMS, WRITERS, write_folder, write_hdf5

from nmer.corpora.corpus import CorpusSettings, read_corpus
from nmer.corpora.store import FeatureStore
from nmer.errors import DataError

each_layout = pytest.mark.parametrize("layout", list(WRITERS))


def settings(layout: str, **values: object) -> CorpusSettings:
    return CorpusSettings.from_mapping({"dataset": "own", "layout": layout, **values})


@each_layout
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16])
def test_a_corpus_is_read_as_written(tmp_path, step, arrays, layout, dtype):
    arrays.columns["split"] = ["train"] * 15 + ["val"] * 5 + ["test"] * 10
    described = step.build(WRITERS[layout](tmp_path / "corpus", arrays, dtype), layout, dims=DIMS)
    assert described["classes"] == CLASSES
    assert described["speakers"] == 6
    with FeatureStore(step.output) as store:
        assert store.ids == arrays.columns["id"]
        assert [CLASSES[label] for label in store.labels] == arrays.columns["label"]
        for m, frames in arrays.frames.items():
            for index, values in enumerate(frames):
                np.testing.assert_array_equal(store.utterance(m, index), values.astype(dtype).astype(np.float32))
        assert {split: index.tolist() for split, index in store.fold(1).items()} == {
            "train": list(range(15)),
            "val": list(range(15, 20)),
            "test": list(range(20, 30)),
        }


@each_layout
def test_leave_one_group_out_tests_every_speaker_once(tmp_path, arrays, layout):
    path = WRITERS[layout](tmp_path / "corpus", arrays)
    with read_corpus(path, settings(layout, folds=6, options={"protocol": "leave_one_group_out"})) as corpus:
        speakers = np.array(arrays.columns["speaker"])
        expected = [test for _train, test in LeaveOneGroupOut().split(speakers, groups=speakers)]
        assert len(corpus.folds) == len(expected) == 6
        for number, fold in corpus.folds.items():
            np.testing.assert_array_equal(fold["test"], expected[number - 1])
            np.testing.assert_array_equal(fold["val"], expected[number % 6])
            assert sorted(np.concatenate(list(fold.values()))) == list(range(30))


@each_layout
def test_stratified_folds_keep_class_shares_and_speakers_together(tmp_path, arrays, layout):
    path = WRITERS[layout](tmp_path / "corpus", arrays)
    with read_corpus(path, settings(layout, folds=3, options={"protocol": "stratified"})) as corpus:
        speakers = np.array(corpus.speakers)
        assert len(corpus.folds) == 3
        for fold in corpus.folds.values():
            np.testing.assert_allclose(np.bincount(corpus.labels[fold["test"]]) / len(fold["test"]), 1 / 3, atol=0.1)
            assert not set(speakers[fold["test"]]) & set(speakers[fold["train"]])
        assert sorted(np.concatenate([fold["test"] for fold in corpus.folds.values()])) == list(range(30))


def test_without_speakers_stratified_folds_are_exactly_stratified_and_repeatable(tmp_path, arrays):
    del arrays.columns["speaker"]
    path = write_folder(tmp_path / "corpus", arrays)
    stratified = settings("npy_folder", folds=5, options={"protocol": "stratified"})
    with read_corpus(path, stratified) as corpus, read_corpus(path, stratified) as again:
        for number, fold in corpus.folds.items():
            np.testing.assert_array_equal(np.bincount(corpus.labels[fold["test"]]), [2, 2, 2])
            np.testing.assert_array_equal(fold["test"], again.folds[number]["test"])
        assert any("cannot be checked" in note for note in corpus.notes)
    other = dataclasses.replace(stratified, dataset="another")
    with read_corpus(path, other) as corpus, read_corpus(path, stratified) as first:
        assert any((corpus.folds[k]["test"] != first.folds[k]["test"]).any() for k in corpus.folds)


def test_stratified_folds_need_a_number(tmp_path, arrays):
    path = write_folder(tmp_path / "corpus", arrays)
    with pytest.raises(DataError, match="key 'folds' with at least 3"):
        read_corpus(path, CorpusSettings("own", "npy_folder", options={"protocol": "stratified"}))


@each_layout
def test_folds_of_a_column_test_the_part_of_their_number(tmp_path, arrays, layout):
    arrays.columns["fold"] = [1 + index // 5 % 3 for index in range(30)]
    with read_corpus(WRITERS[layout](tmp_path / "corpus", arrays), settings(layout, folds=3)) as corpus:
        parts = np.array(arrays.columns["fold"])
        for number, following in ((1, 2), (2, 3), (3, 1)):
            np.testing.assert_array_equal(corpus.folds[number]["test"], np.flatnonzero(parts == number))
            np.testing.assert_array_equal(corpus.folds[number]["val"], np.flatnonzero(parts == following))


def test_folds_can_be_stored_in_the_file(tmp_path, arrays):
    path = write_hdf5(tmp_path / "corpus.h5", arrays)
    chosen = {"train": [0, 2, 4], "val": [6, 8], "test": [9, 10, 29]}
    with h5py.File(path, "r+") as file:
        for split, index in chosen.items():
            file[f"fold/1/{split}"] = index
    with read_corpus(path, settings("ragged_hdf5", options={"protocol": "given"})) as corpus:
        assert {split: index.tolist() for split, index in corpus.folds[1].items()} == chosen


def test_a_feature_store_is_a_corpus_of_the_layout(tmp_path, step, arrays):
    arrays.columns["split"] = ["train"] * 15 + ["val"] * 5 + ["test"] * 10
    first = step.build(write_folder(tmp_path / "corpus", arrays), "npy_folder")
    copy = tmp_path / "copy.h5"
    copy.write_bytes(step.output.read_bytes())
    second = step.build(copy, "ragged_hdf5", classes=CLASSES, options={"protocol": "given"})
    for key in ("utterances", "class_counts", "speakers", "dims", "lengths", "variance", "folds"):
        assert first[key] == second[key]


@each_layout
def test_label_numbers_name_classes_by_the_key(tmp_path, arrays, layout):
    arrays.columns["label"] = [index % 3 for index in range(30)]
    arrays.columns["split"] = ["train"] * 15 + ["val"] * 5 + ["test"] * 10
    path = WRITERS[layout](tmp_path / "corpus", arrays)
    with read_corpus(path, settings(layout, classes=["x", "y", "z"])) as corpus:
        assert corpus.classes == ["x", "y", "z"]
        assert corpus.labels.tolist() == arrays.columns["label"]
    with read_corpus(path, settings(layout)) as corpus:
        assert corpus.classes == ["0", "1", "2"]
    with pytest.raises(DataError, match="label 2 is outside the 2 classes"):
        read_corpus(path, settings(layout, classes=["x", "y"]))


def test_more_folds_than_configured_give_a_warning(tmp_path, step, arrays):
    path = write_folder(tmp_path / "corpus", arrays)
    described = step.build(path, "npy_folder", folds=2, options={"protocol": "leave_one_group_out"})
    assert any("has 6 folds" in warning for warning in described["warnings"])


def test_fewer_folds_than_configured_are_refused(tmp_path, step, arrays):
    path = write_folder(tmp_path / "corpus", arrays)
    message = step.refuse(path, "npy_folder", folds=7, options={"protocol": "leave_one_group_out"})
    assert "datasets.tiny.folds: the number is 7, but the corpus has 6" in message


def test_files_without_an_utterance_give_a_warning(tmp_path, step, arrays):
    arrays.columns["split"] = ["train"] * 15 + ["val"] * 5 + ["test"] * 10
    path = write_folder(tmp_path / "corpus", arrays)
    np.save(path / "v/stranger.npy", np.ones((2, 3)))
    described = step.build(path, "npy_folder")
    assert any("v: 1 files belong to no utterance" in warning for warning in described["warnings"])


TABLES = {
    "no label": ("id,speaker\nu,s\n", "has no column 'label'"),
    "no rows": ("id,label,split\n", "lists no utterance"),
    "short row": ("id,label,split\nu,x\n", "line 2: 2 cells where the header has 3"),
    "empty cell": ("id,label,split\nu,,train\n", "line 2: the column 'label' is empty"),
    "same column twice": ("id,label,id\nu,x,v\n", "two columns have the name 'id'"),
    "unknown split": ("id,label,split\nu,x,dev2\n", "column split: 'dev2' is not a split"),
    "split and fold": ("id,label,split,fold\nu,x,train,1\n", "one of the columns 'split'"),
    "neither": ("id,label\nu,x\n", "one of the columns 'split'"),
    "fold not a number": ("id,label,fold\nu,x,one\n", "'one' is not a fold number"),
    "folds with a gap": ("id,label,fold\nu,x,1\nv,x,3\n", "without gaps; found 1, 3"),
    "two folds": ("id,label,fold\nu,x,1\nv,x,2\n", "2 parts; training, validation and test need at least 3"),
    "id as a path": ("id,label,split\n../u,x,train\n", "id '../u' cannot be the name of a file"),
    "quotes": ('id,label,split\n"u,x,train\n', "is not a CSV file"),
}


@pytest.mark.parametrize("name", list(TABLES))
def test_invalid_tables_are_named(tmp_path, step, arrays, name):
    text, expected = TABLES[name]
    path = write_folder(tmp_path / "corpus", arrays)
    (path / "utterances.csv").write_text(text)
    message = step.refuse(path, "npy_folder")
    assert "utterances.csv" in message
    assert expected in message


def test_protocols_name_a_missing_speaker_column_or_number(tmp_path, step, arrays):
    del arrays.columns["speaker"]
    path = write_folder(tmp_path / "corpus", arrays)
    assert "needs a column 'speaker'" in step.refuse(path, "npy_folder", options={"protocol": "leave_one_group_out"})
    assert "key 'folds' with at least 3" in step.refuse(path, "npy_folder", options={"protocol": "stratified"})
    assert "cannot be divided" in step.refuse(path, "npy_folder", folds=11, options={"protocol": "stratified"})
    assert "Choose from: column" in step.refuse(path, "npy_folder", options={"protocol": "given"})


BAD_HDF5 = {
    "no ids": (lambda file: file.__delitem__("utterance/id"), "has no 'utterance/id'"),
    "short label": (lambda file: replace(file, "utterance/label", ["x"] * 29), "29 entries"),
    "two-dimensional ids": (lambda file: replace(file, "utterance/id", [["u"]] * 30), "one entry each"),
    "no values": (lambda file: file.__delitem__("v/values"), "has no 'v/values'"),
    "flat values": (lambda file: replace(file, "v/values", np.ones(9)), "numbers (frames, dim) expected"),
    "text values": (lambda file: replace(file, "v/values", [["x"] * 3]), "numbers (frames, dim) expected"),
    "falling offset": (lambda file: file["a/offset"].__setitem__(3, 0), "a/offset must hold 31 whole numbers, rising"),
    "offset too short": (lambda file: replace(file, "a/offset", np.arange(30)), "a/offset must hold 31 whole numbers"),
    "offset out of range": (lambda file: file["l/offset"].__setitem__(30, 9999), "l/offset must hold 31 whole numbers"),
    "a group": (lambda file: replace(file, "l/values", None), "'l/values' is a group where an array is expected"),
}


def replace(file: h5py.File, name: str, value: object) -> None:
    del file[name]
    if value is None:
        file.create_group(name)
    else:
        file[name] = value


@pytest.mark.parametrize("name", list(BAD_HDF5))
def test_invalid_ragged_files_are_named(tmp_path, step, arrays, name):
    change, expected = BAD_HDF5[name]
    arrays.columns["split"] = ["train"] * 15 + ["val"] * 5 + ["test"] * 10
    path = write_hdf5(tmp_path / "corpus.h5", arrays)
    with h5py.File(path, "r+") as file:
        change(file)
    message = step.refuse(path, "ragged_hdf5")
    assert "corpus.h5" in message
    assert expected in message


@pytest.mark.parametrize("index", [[30], [-1], [0.5], [[0]]])
def test_stored_folds_outside_the_corpus_are_refused(tmp_path, step, arrays, index):
    path = write_hdf5(tmp_path / "corpus.h5", arrays)
    with h5py.File(path, "r+") as file:
        for split, value in (("train", [0, 1]), ("val", index), ("test", [3])):
            file[f"fold/1/{split}"] = value
    assert "fold/1/val must contain indices of utterances, from 0 to 29" in step.refuse(
        path, "ragged_hdf5", options={"protocol": "given"}
    )


def test_the_corpus_of_the_example_is_read_with_its_settings(tmp_path, step, monkeypatch):
    example = Path(__file__).parents[2] / "examples/own_corpus"
    monkeypatch.setattr(sys, "path", [str(example), *sys.path])
    import write_corpus

    write_corpus.main(tmp_path / "interviews")
    described = step.build(
        tmp_path / "interviews",
        "npy_folder",
        dims=write_corpus.DIMS,
        folds=5,
        standardize=["a"],
        options={"protocol": "leave_one_group_out"},
    )
    assert described["classes"] == list(write_corpus.CLASSES)
    assert [fold["test"]["utterances"] for fold in described["folds"]] == [18] * 5
    assert described["warnings"] == []


@each_layout
@pytest.mark.parametrize("other", ["CALM", "ｃalm"])
@pytest.mark.parametrize(("column", "sort"), [("label", "Classes"), ("speaker", "Speakers")])
def test_names_that_look_the_same_give_a_warning(tmp_path, step, arrays, layout, column, sort, other):
    arrays.columns["split"] = ["train"] * 15 + ["val"] * 5 + ["test"] * 10
    if column == "speaker":
        arrays.columns[column] = ["calm" if index < 15 else f"s{index}" for index in range(30)]
    first = arrays.columns[column].index("calm")
    for index in range(first, 30):
        if arrays.columns[column][index] == "calm" and index % 2:
            arrays.columns[column][index] = other
    warnings = step.build(WRITERS[layout](tmp_path / "corpus", arrays), layout, dims=DIMS)["warnings"]
    (warning,) = [warning for warning in warnings if warning.startswith(sort)]
    assert warning.split(" differ")[0].removeprefix(f"{sort} ").split(" and ") == [
        ascii(n) for n in sorted(["calm", other])
    ]


def test_ordinary_names_give_no_warning(tmp_path, step, arrays):
    arrays.columns["split"] = ["train"] * 15 + ["val"] * 5 + ["test"] * 10
    assert step.build(write_folder(tmp_path / "corpus", arrays), "npy_folder", dims=DIMS)["warnings"] == []
