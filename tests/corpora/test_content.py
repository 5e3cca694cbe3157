"""Invalid content of a file ends in one message with file and key."""

from __future__ import annotations

import fcntl
import json
import math
import pickle
import sys

import collect_calibration
import h5py
import make_table
import numpy as np
import pytest
import show_features
from written_corpora import write_folder, write_hdf5

from nmer import command
from nmer.corpora.arrays import load_array
from nmer.corpora.corpus import Corpus, CorpusSettings, read_corpus
from nmer.corpora.hdf5 import open_hdf5
from nmer.corpora.store import FeatureStore
from nmer.corpora.unpickle import Unreadable, load_pickle
from nmer.corpora.validation import check
from nmer.digests import check_digests, digest_path, write_digest
from nmer.errors import DataError
from nmer.files import read_json
from nmer.noise.calibration_table import COLUMNS, read_levels
from nmer.report_settings import ReportSettings
from nmer.results.report import read_dataset

SETTINGS = ReportSettings(datasets={}, systems=[], snr_db={}, reference_noise="gaussian")
SPLIT = ["train"] * 15 + ["val"] * 5 + ["test"] * 10

NO_ARRAYS = {
    "none": None,
    "text": "x",
    "number": 3.5,
    "dictionary": {"x": 1},
    "ragged": [[1.0, 2.0], [3.0]],
    "nested ragged lists": [[[1.0]], [[1.0, 2.0]], [[1.0]]],
    "nones": [None, None],
    "tuples of text": [("a", 1), ("b", 2)],
    "objects": np.array([{}, 1], dtype=object),
    "texts": np.array(["1", "2"]),
    "complex": np.ones(3, complex),
    "structured": np.zeros(3, [("x", "f4")]),
    "times": np.zeros(3, "datetime64[s]"),
    "a set": {1, 2},
    "nested": [[[[1.0]]]],
    "empty": [],
    "huge": [10**400],
}


def save(folder, content: object):
    path = folder / "odd.pkl"
    path.write_bytes(pickle.dumps(content))
    return path


@pytest.mark.parametrize("value", NO_ARRAYS)
@pytest.mark.parametrize("key", ["audio", "text", "labels", "id"])
def test_junk_in_a_key_of_a_pickle_ends_in_one_message(mosei, tmp_path, step, key, value):
    mosei["valid"][key] = NO_ARRAYS[value]
    output = step.refuse(save(tmp_path, mosei), "mosei_pickle")
    # A wrong number of ids is detected when compared with the arrays.
    assert "odd.pkl: valid." in output


@pytest.mark.parametrize("value", NO_ARRAYS)
def test_junk_in_the_lengths_of_a_pickle_ends_in_one_message(mosei, tmp_path, step, value):
    for split in mosei.values():
        split["regression_labels"] = split.pop("labels").reshape(-1)
    mosei["test"]["audio_lengths"] = NO_ARRAYS[value]
    assert "odd.pkl: test.audio_lengths: " in step.refuse(save(tmp_path, mosei), "mosei_pickle")


def test_lengths_can_be_whole_floats_and_lists_can_be_tuples(mosei, tmp_path, step):
    for split in mosei.values():
        split["regression_labels"] = tuple(split.pop("labels").reshape(-1).tolist())
        split["audio_lengths"] = [float(split["audio"].shape[1] - 1)] * len(split["id"])
        split["vision"] = split["vision"].tolist()
    described = step.build(save(tmp_path, mosei), "mosei_pickle")
    assert described["lengths"]["a"]["max"] == mosei["train"]["audio"].shape[1] - 1


@pytest.mark.parametrize("length", [math.nan, math.inf, -1.0, 0.5, 1e30])
def test_invalid_lengths_are_named(mosei, tmp_path, step, length):
    for split in mosei.values():
        split["regression_labels"] = split.pop("labels").reshape(-1)
        split["vision_lengths"] = [1.0] * (len(split["id"]) - 1) + [length]
    assert f"train.vision_lengths: holds {length}" in step.refuse(save(tmp_path, mosei), "mosei_pickle")


@pytest.mark.parametrize("name", [None, math.nan, 2.5, (), [], {"x": 1}, [None, 1, 2], [["a"], ["b", "c"]], True])
def test_an_id_that_is_not_text_is_named(mosei, tmp_path, step, name):
    mosei["train"]["id"] = [*mosei["train"]["id"]]
    mosei["train"]["id"][2] = name
    assert "odd.pkl: train.id: " in step.refuse(save(tmp_path, mosei), "mosei_pickle")


@pytest.mark.parametrize("split", [None, [], "x", 5, np.ones(3), np.zeros(2, [("x", "f4")])])
def test_a_split_that_is_not_a_dictionary_is_named(mosei, tmp_path, step, split):
    mosei["valid"] = split
    output = step.refuse(save(tmp_path, mosei), "mosei_pickle")
    assert "valid" in output
    assert "each a dictionary" in output


# Ignored keys


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("value", [*NO_ARRAYS, "gaps in text", "a scalar of a custom type", "an object in a list"])
def test_ignored_keys_are_not_validated(mosei, tmp_path, step, value, protocol):
    more = {
        "gaps in text": np.array(["said", math.nan, None], dtype=object),
        "a scalar of a custom type": np.zeros(1, [("x", "f4")])[0],
        "an object in a list": [np.array([{}], dtype=object)],
    }
    expected = step.build(save(tmp_path, mosei), "mosei_pickle")
    for split in mosei.values():
        split["raw_text"] = (NO_ARRAYS | more)[value]
    mosei["comment"] = (NO_ARRAYS | more)[value]
    path = tmp_path / "odd.pkl"
    path.write_bytes(pickle.dumps(mosei, protocol))
    found = step.build(path, "mosei_pickle")
    assert {key: found[key] for key in found if key != "sources"} == {
        key: expected[key] for key in expected if key != "sources"
    }


def test_an_entry_that_is_not_plain_data_is_replaced_by_a_placeholder(tmp_path):
    stored = {"kept": np.arange(3), "odd": np.array([{}], dtype=object), "within": [1, np.zeros(1, "datetime64[s]")]}
    read = load_pickle(save(tmp_path, stored), 2**20)
    np.testing.assert_array_equal(read["kept"], [0, 1, 2])
    assert read["odd"] == Unreadable("holds an array of Python objects other than text")
    assert isinstance(read["within"], Unreadable)


@pytest.mark.parametrize("kind", ["times", "structured", "objects"])
def test_a_pickle_that_is_not_plain_data_is_refused(tmp_path, kind):
    with pytest.raises(DataError, match=r"odd\.pkl: holds a"):
        load_pickle(save(tmp_path, [NO_ARRAYS[kind]]), 2**20)


def test_ignored_columns_can_have_equal_names_and_no_text(tmp_path, step, arrays):
    arrays.columns["split"] = SPLIT
    path = write_folder(tmp_path / "corpus", arrays)
    table = path / "utterances.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join([f"{lines[0]},,", *(f"{line},,x" for line in lines[1:])]), encoding="utf-8")
    step.build(path, "npy_folder")


def test_columns_of_another_protocol_are_not_read(tmp_path, step, arrays):
    path = write_hdf5(tmp_path / "corpus.h5", arrays)
    with h5py.File(path, "r+") as file:
        file.create_group("utterance/split")
        file["utterance/fold"] = np.ones((3, 4))
    step.build(path, "ragged_hdf5", folds=6, options={"protocol": "leave_one_group_out"})


# Groups, arrays, widths


def without(file: h5py.File, name: str) -> None:
    del file[name]


def as_group(file: h5py.File, name: str) -> None:
    del file[name]
    file.create_group(name)


def as_array(file: h5py.File, name: str) -> None:
    if name in file:
        del file[name]
    file[name] = np.arange(4.0)


def as_scalar(file: h5py.File, name: str) -> None:
    del file[name]
    file[name] = 3.0


def as_scalar_text(file: h5py.File, name: str) -> None:
    del file[name]
    file[name] = "x"


def as_lists(file: h5py.File, name: str) -> None:
    del file[name]
    stored = file.create_dataset(name, 30, h5py.vlen_dtype(np.int32))
    for index in range(30):
        stored[index] = np.arange(index % 3)


DAMAGES = [without, as_group, as_array, as_scalar, as_scalar_text, as_lists]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "name", ["utterance/id", "utterance/label", "utterance/split", "utterance/speaker", "a/values"]
)
def test_an_invalid_array_is_named(tmp_path, step, arrays, name, damage):
    if damage is without and name == "utterance/speaker":
        return  # it is optional
    arrays.columns["split"] = SPLIT
    path = write_hdf5(tmp_path / "corpus.h5", arrays)
    with h5py.File(path, "r+") as file:
        damage(file, name)
    assert "corpus.h5: " in step.refuse(path, "ragged_hdf5")


@pytest.mark.parametrize("damage", DAMAGES[1:3])
@pytest.mark.parametrize("name", ["a", "a/offset", "utterance", "fold", "fold/1", "fold/1/train"])
def test_a_group_and_an_array_that_are_swapped_are_named(tmp_path, step, arrays, name, damage):
    path = write_hdf5(tmp_path / "corpus.h5", arrays)
    with h5py.File(path, "r+") as file:
        for split, index in (("train", [0, 1, 2]), ("val", [3, 4, 5]), ("test", [6, 7, 8])):
            file[f"fold/1/{split}"] = index
        damage(file, name)
    assert "corpus.h5: " in step.refuse(path, "ragged_hdf5", options={"protocol": "given"})


def test_labels_can_be_whole_floats(tmp_path, step, arrays):
    arrays.columns |= {"split": SPLIT, "label": [float(index % 3) for index in range(30)]}
    assert step.build(write_hdf5(tmp_path / "whole.h5", arrays), "ragged_hdf5")["classes"] == ["0", "1", "2"]


@pytest.mark.parametrize("odd", [math.nan, 0.5, math.inf])
def test_labels_that_are_other_floats_are_refused(tmp_path, step, arrays, odd):
    arrays.columns |= {"split": SPLIT, "label": [odd, *(float(index % 3) for index in range(29))]}
    assert f"'utterance/label' holds {odd}" in step.refuse(write_hdf5(tmp_path / "odd.h5", arrays), "ragged_hdf5")


@pytest.mark.parametrize("writer", [write_folder, write_hdf5])
def test_features_without_dimensions_are_named(tmp_path, step, arrays, writer):
    arrays.columns["split"] = SPLIT
    arrays.frames["v"] = [frames[:, :0] for frames in arrays.frames["v"]]
    layout = "npy_folder" if writer is write_folder else "ragged_hdf5"
    output = step.refuse(writer(tmp_path / "corpus", arrays), layout)
    assert "modality 'v' has no dimensions" in output or "a/values" in output or "v/values" in output


def test_features_of_iemocap_without_dimensions_are_named(iemocap, step):
    with h5py.File(iemocap / "L/bert_large.h5", "r+") as file:
        for name in list(file):
            del file[name]
            file[name] = np.zeros((3, 0), np.float32)
    assert "bert_large.h5" in step.refuse(iemocap, "iemocap_mmin")


@pytest.mark.parametrize("number", ["99999999999999999999", "1000000000000"])
def test_a_huge_number_is_named(tmp_path, step, arrays, number):
    arrays.columns["fold"] = ["1", number, "2"] * 10
    assert f"found 1, 2, {number}" in step.refuse(write_folder(tmp_path / "x", arrays), "npy_folder")
    del arrays.columns["fold"]
    arrays.columns |= {"split": SPLIT, "label": ["0", number, "1"] * 10}
    path = write_folder(tmp_path / "y", arrays)
    assert f"label {number} is outside the 2 classes" in step.refuse(path, "npy_folder", classes=["x", "y"])


@pytest.mark.parametrize(
    "header", [b"{'descr': (", b"{'descr': '<f4', 'shape': (1,", b"\xff\xfe", b"((((" * 5000, b"1"]
)
def test_an_invalid_header_is_named(tmp_path, header):
    path = tmp_path / "x.npy"
    for version in (1, 2, 3):
        size = len(header).to_bytes(2 if version == 1 else 4, "little")
        path.write_bytes(b"\x93NUMPY" + bytes([version, 0]) + size + header)
        with pytest.raises(DataError, match=r"x\.npy: cannot be read as a plain NumPy array"):
            load_array(path)


# Results of custom readers

ODD_CORPORA = {
    "float lengths": {"lengths": {m: np.full(4, 2.0) for m in "avl"}},
    "lists of lengths": {"lengths": {m: [2] * 4 for m in "avl"}},
    "lengths of another split": {"lengths": {m: np.full(3, 2) for m in "avl"}},
    "no lengths": {"lengths": {}},
    "float labels": {"labels": np.zeros(4)},
    "numeric ids": {"ids": [1, 2, 3, 4]},
    "a numeric class": {"classes": [0, 1]},
    "missing dims": {"dims": {"a": 1}},
    "dims given as text": {"dims": dict.fromkeys("avl", "x")},
    "an index out of range": {"folds": {1: {"train": np.array([0, 9]), "val": np.array([1]), "test": np.array([2])}}},
    "a mask": {"folds": {1: dict.fromkeys(("train", "val", "test"), np.ones(4, bool))}},
    "a fold without a test split": {"folds": {1: {"train": np.array([0]), "val": np.array([1])}}},
    "fewer speakers": {"speakers": ["s"]},
}


@pytest.mark.parametrize("fault", ODD_CORPORA)
def test_an_invalid_result_of_a_custom_reader_is_named(fault):
    whole = {
        "ids": list("wxyz"),
        "labels": np.array([0, 1, 0, 1]),
        "speakers": list("wxyz"),
        "classes": ["no", "yes"],
        "dims": dict.fromkeys("avl", 1),
        "lengths": {m: np.full(4, 2) for m in "avl"},
        "folds": {1: {"train": np.array([0, 1]), "val": np.array([2]), "test": np.array([3])}},
        "features": lambda modality, index: np.ones((2, 1)),
    }
    with pytest.raises(DataError, match=r"datasets\.d.*layout 'mine'.* Correct it"):
        check(Corpus(**whole | ODD_CORPORA[fault]), CorpusSettings("d", "mine"))


# Files written by the workflow


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"", b"abc\n", b"0" * 64 + b" x\n", b"[1]\n"])
def test_a_damaged_digest_is_named(tmp_path, content):
    path = tmp_path / "x.h5"
    path.write_bytes(b"x")
    write_digest(path)
    check_digests(path)
    digest_path(path).write_bytes(content)
    with pytest.raises(DataError, match=r"x\.h5\.sha256: is damaged"):
        check_digests(path)


@pytest.mark.parametrize("content", ["[]", "5", "null", '"x"', "[" * 100_000, "\ud800"])
def test_json_that_is_not_an_object_is_named(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(DataError, match=r"x\.json: "):
        read_json(path)


REPORTS = ["{}", '{"dataset": "d"}', '{"dataset": [], "folds": 3}', '{"dataset": "d", "folds": [{}], "classes": ["x"]}']


@pytest.mark.parametrize("report", REPORTS)
def test_a_report_without_its_keys_is_named(tmp_path, monkeypatch, capsys, report):
    path = tmp_path / "d.json"
    path.write_text(report)
    with pytest.raises(DataError, match=r"d\.json: "):
        read_dataset(str(path), SETTINGS)
    settings = json.dumps({"datasets": {"d": {}}, "systems": [], "snr_db": {}, "reference_noise": "gaussian"})
    of_table = ["--table", "1", "--settings", settings, "--reports", path, "--output-stem", tmp_path / "t"]
    for step, arguments in ((show_features, [path]), (make_table, of_table)):
        monkeypatch.setattr(sys, "argv", ["x", *map(str, arguments)])
        with pytest.raises(SystemExit):
            command.run(step.main)
        output = capsys.readouterr().err
        assert output.startswith(f"error: {path}: ")
        assert output.count("\n") == 1


HEADER = ",".join(COLUMNS)
CALIBRATIONS = ["", "a,b\n1,2\n", "modality\na\nv\nl\n", "\0\n", f"{HEADER}\nd,a\n"]
CALIBRATIONS += [
    HEADER + "".join(f"\nd,{m},n,-10,1,5,{level},0,0,0" for m in "avl") for level in ("x", "", "nan", "2", "0")
]


@pytest.mark.parametrize("text", CALIBRATIONS)
def test_an_invalid_calibration_is_named(tmp_path, text):
    path = tmp_path / "c.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=r"c\.csv: "):
        read_levels(path, additive=True)


def test_invalid_tables_are_not_collected(tmp_path, monkeypatch, capsys):
    path = tmp_path / "c.csv"
    path.write_text("a,b\n1,2\n")
    arguments = ["--calibrated", path, "--measured", path, "--output", tmp_path / "x.csv"]
    monkeypatch.setattr(sys, "argv", ["x", *map(str, arguments)])
    with pytest.raises(SystemExit):
        command.run(collect_calibration.main)
    assert capsys.readouterr().err.startswith(f"error: {path}: ")


@pytest.mark.parametrize("name", ["utterance/id", "utterance/speaker", "utterance/label", "fold/1/val", "a/offset"])
@pytest.mark.parametrize("damage", [without, as_group, as_scalar])
def test_an_incomplete_store_is_named(tiny, step, name, damage):
    step.build(tiny["mosei_pickle"], "mosei_pickle")
    with h5py.File(step.output, "r+") as file:
        damage(file, name)
    with pytest.raises(DataError, match=r"x\.h5: not a feature store, or an incomplete one"):
        FeatureStore(step.output)


# Locked files


def test_a_file_locked_by_another_program_is_reported_as_locked(tiny, step, iemocap):
    step.build(tiny["mosei_pickle"], "mosei_pickle")
    vision = iemocap / "V/denseface.h5"
    with step.output.open("rb") as store, vision.open("rb") as features:
        for stream in (store, features):
            fcntl.flock(stream, fcntl.LOCK_EX)
        for path, read in ((step.output, FeatureStore), (vision, open_hdf5)):
            with pytest.raises(DataError, match=rf"{path.name}: is locked by another program"):
                read(path)
        with pytest.raises(DataError, match="is locked by another program"):
            read_corpus(iemocap, CorpusSettings.from_mapping({"dataset": "d", "layout": "iemocap_mmin"}))
