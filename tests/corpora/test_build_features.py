"""The step: its report; every invalid input ends in one message that names file or key, without output."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


def save_pickle(folder: Path, content: dict) -> Path:
    path = folder / "damaged.pkl"
    path.write_bytes(pickle.dumps(content))
    return path


def relabel(folder: Path, change) -> None:
    """Replace the labels in every list of an IEMOCAP folder by ``change`` of the label numbers."""
    for path in folder.glob("target/*/*_label.npy"):
        np.save(path, change(np.load(path).argmax(axis=1)))


def test_the_report_describes_the_corpus(tiny, step):
    described = step.build(tiny["iemocap_mmin"], "iemocap_mmin", dims={"a": 6, "v": 5, "l": 7})
    assert described["utterances"] == sum(described["class_counts"].values()) == 100
    assert described["speakers"] == 10
    assert [fold["fold"] for fold in described["folds"]] == list(range(1, 11))
    assert described["lengths"]["v"] == {"min": 4, "mean": 4.0, "max": 4}
    assert described["published"] is None
    assert described["warnings"] == ["Modality v: 1 of 100 utterances contain only zeros."]
    assert len(described["sources"]) == 64
    assert step.output.with_name("x.h5.sha256").read_text().split()[1] == "x.h5"


def test_a_corpus_under_the_papers_name_is_compared_with_it_unless_synthetic(tiny, step):
    described = step.build(tiny["iemocap_mmin"], "iemocap_mmin", paper_name="IEMOCAP", synthetic=False)
    assert described["published"]["class_counts"]["happy"] == 1636
    assert any("4446" in warning for warning in described["warnings"])
    assert any("Class counts" in warning for warning in described["warnings"])


def test_broken_values_are_repaired_counted_and_reported(iemocap, step):
    with h5py.File(iemocap / "V/denseface.h5", "r+") as file:
        first, second = list(file)[:2]
        file[first][0, :2] = np.nan
        file[second][0, 0] = np.inf
    described = step.build(iemocap, "iemocap_mmin")
    assert described["repairs"]["v"] == {"nan": 2, "+inf": 1, "-inf": 0}
    assert any("2 nan values of modality v" in warning for warning in described["warnings"])
    with h5py.File(step.output) as file:
        assert np.isfinite(file["v/values"][()]).all()


def test_the_script_ends_with_one_message_and_status_1(tmp_path):
    settings = json.dumps({"dataset": "x", "layout": "mosei_pickle"})
    script = [sys.executable, str(SCRIPTS / "build_features.py"), "--settings", settings]
    files = ["--source", "absent.pkl", "--output", "x.h5", "--report", "x.json"]
    ended = subprocess.run([*script, *files], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: absent.pkl: no such file")
    assert ended.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_missing_feature_file_is_named(iemocap, step):
    (iemocap / "L/bert_large.h5").unlink()
    assert "L/bert_large.h5: no such file" in step.refuse(iemocap, "iemocap_mmin")


def test_a_missing_target_list_is_named(iemocap, step):
    (iemocap / "target/7/tst_label.npy").unlink()
    assert "target/7/tst_label.npy: no such file" in step.refuse(iemocap, "iemocap_mmin")


def test_a_truncated_hdf5_file_is_named(iemocap, step):
    path = iemocap / "A/comparE.h5"
    path.write_bytes(path.read_bytes()[:-2000])
    assert "A/comparE.h5: cannot be read as HDF5" in step.refuse(iemocap, "iemocap_mmin")


def test_a_truncated_list_is_named(iemocap, step):
    path = iemocap / "target/2/trn_label.npy"
    path.write_bytes(path.read_bytes()[:-20])
    assert "target/2/trn_label.npy: declares" in step.refuse(iemocap, "iemocap_mmin")


def test_a_list_of_python_objects_is_refused(iemocap, step):
    np.save(iemocap / "target/1/trn_int2name.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert "trn_int2name.npy: contains Python objects" in step.refuse(iemocap, "iemocap_mmin")


def test_a_truncated_pickle_is_named(tiny, tmp_path, step):
    path = tmp_path / "cut.pkl"
    path.write_bytes(tiny["mosei_pickle"].read_bytes()[:-5000])
    assert "cut.pkl: damaged pickle" in step.refuse(path, "mosei_pickle")


@pytest.mark.parametrize(("layout", "place"), [("iemocap_mmin", "V/denseface.h5"), ("mosei_pickle", ".pkl")])
def test_wrong_dimensions_name_file_and_key(tiny, step, layout, place):
    output = step.refuse(tiny[layout], layout, dims={"v": 342})
    assert place in output
    assert "datasets.tiny.dims.v is 342" in output


def test_a_label_outside_the_classes_is_named(iemocap, step):
    relabel(iemocap, lambda labels: np.where(np.arange(len(labels)) == 1, 9, labels))
    output = step.refuse(iemocap, "iemocap_mmin")
    assert "_label.npy: label 9 is outside the 4 classes" in output


@pytest.mark.parametrize("value", [np.nan, 7.0])
def test_a_sentiment_out_of_range_is_named(mosei, tmp_path, step, value):
    mosei["valid"]["labels"][2] = value
    output = step.refuse(save_pickle(tmp_path, mosei), "mosei_pickle")
    assert f"valid.labels: label {value} is outside -3..3" in output


def test_an_utterance_without_features_is_named(iemocap, step):
    with h5py.File(iemocap / "V/denseface.h5", "r+") as file:
        missing = list(file)[5]
        del file[missing]
    output = step.refuse(iemocap, "iemocap_mmin")
    assert "V/denseface.h5" in output
    assert missing in output


def test_an_utterance_without_frames_is_named(iemocap, step):
    with h5py.File(iemocap / "A/comparE.h5", "r+") as file:
        name = list(file)[5]
        del file[name]
        file[name] = np.zeros((0, 6))
    assert f"A/comparE.h5: utterance '{name}' has no frames" in step.refuse(iemocap, "iemocap_mmin")


def test_folds_that_disagree_on_a_label_are_refused(iemocap, step):
    path = iemocap / "target/5/trn_label.npy"
    np.save(path, np.roll(np.load(path), 1, axis=1))
    assert "The folds must agree" in step.refuse(iemocap, "iemocap_mmin")


def test_an_empty_split_is_named(iemocap, mosei, tmp_path, step):
    for stem in ("label", "int2name"):
        path = iemocap / f"target/2/val_{stem}.npy"
        np.save(path, np.load(path)[:0])
    assert "fold 2: the val split is empty" in step.refuse(iemocap, "iemocap_mmin")
    mosei["test"]["text"][:] = 0
    assert "fold 1: the test split is empty" in step.refuse(save_pickle(tmp_path, mosei), "mosei_pickle")


def test_a_split_of_one_class_is_named(mosei, tmp_path, step):
    mosei["valid"]["labels"][:] = 1
    output = step.refuse(save_pickle(tmp_path, mosei), "mosei_pickle")
    assert "fold 1: the val split has fewer than 2 classes" in output


def test_a_video_in_two_splits_is_named(mosei, tmp_path, step):
    mosei["test"]["id"][0] = "demo0000[9]"
    output = step.refuse(save_pickle(tmp_path, mosei), "mosei_pickle")
    assert "speaker or video 'demo0000' is in both the train and the test split" in output


def test_an_id_that_occurs_twice_is_named(mosei, tmp_path, step):
    mosei["train"]["id"][1] = mosei["train"]["id"][0]
    assert "'demo0000[0]' occurs more than once" in step.refuse(save_pickle(tmp_path, mosei), "mosei_pickle")


def test_a_missing_key_of_the_pickle_is_named(mosei, tmp_path, step):
    del mosei["test"]["vision"]
    assert "test has no key 'vision'" in step.refuse(save_pickle(tmp_path, mosei), "mosei_pickle")


def test_settings_with_an_unknown_key_are_refused(tiny, step):
    output = step.refuse(tiny["mosei_pickle"], "mosei_pickle", dim={"a": 3})
    assert "Unknown key 'dim'" in output


@pytest.mark.parametrize("end", ["\r", "\n", "\0", "\x1b", "\x85", "\u2028", "\ud800"])
def test_an_id_with_a_line_break_is_refused(mosei, tmp_path, step, end):
    mosei["train"]["id"] = [*mosei["train"]["id"]]
    mosei["train"]["id"][3] = f"a{end}b[0]"
    output = step.refuse(save_pickle(tmp_path, mosei), "mosei_pickle")
    assert f"utterance id {f'a{end}b[0]'!r} holds a line end, a zero byte or another control character" in output
