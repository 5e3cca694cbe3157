"""Messages about a corpus list dropped utterances, the interpretation of its files, and positions of repeated ids."""

from __future__ import annotations

import pickle

import pytest
from written_corpora import write_folder, write_hdf5


def save(folder, content: dict):
    path = folder / "damaged.pkl"
    path.write_bytes(pickle.dumps(content))
    return path


def test_the_message_on_an_empty_split_lists_dropped_utterances(mosei, tmp_path, step):
    count = len(mosei["train"]["id"])
    mosei["train"]["text"][:] = 0
    output = step.refuse(save(tmp_path, mosei), "mosei_pickle")
    assert "the train split is empty." in output
    assert f"{count} dropped: text sums to 0." in output or f"{count + 1} dropped: text sums to 0." in output


def test_the_message_on_a_split_of_one_class_gives_the_rule_of_the_labels(mosei, tmp_path, step):
    """Labels 0 and 1 used as sentiments are all positive."""
    for split in mosei.values():
        split["labels"] = (split["labels"] >= 0).astype(float)
    mosei["train"]["labels"][0] = -1
    output = step.refuse(save(tmp_path, mosei), "mosei_pickle")
    assert "the val split has fewer than 2 classes: all of its 15 utterances are positive." in output
    assert "0 = negative (sentiment below 0), 1 = positive (0 and above); sentiments range from -1 to 1." in output


def test_the_message_on_a_corpus_of_one_class_gives_the_rule_of_the_labels(mosei, tmp_path, step):
    for split in mosei.values():
        split["labels"] = (split["labels"] >= 0).astype(float)
    output = step.refuse(save(tmp_path, mosei), "mosei_pickle")
    assert "no utterance is labelled negative" in output or "fewer than 2 classes" in output
    assert "sentiments range from 0 to 1." in output


@pytest.mark.parametrize(("other", "place"), [("train", "train"), ("valid", "val"), ("test", "test")])
def test_the_message_on_a_repeated_id_names_file_and_splits(mosei, tmp_path, step, other, place):
    mosei[other]["id"] = [*mosei[other]["id"]]
    mosei[other]["id"][-1] = mosei["train"]["id"][0]
    output = step.refuse(save(tmp_path, mosei), "mosei_pickle")
    assert (
        "damaged.pkl): utterance id 'demo0000[0]' occurs more than once, as number 1 (train) and as number " in output
    )
    assert f"({place}). Make ids unique" in output


@pytest.mark.parametrize("writer", [write_folder, write_hdf5])
def test_the_message_on_repeated_ids_of_a_table_names_their_rows(tmp_path, step, arrays, writer):
    arrays.columns["split"] = ["train"] * 15 + ["val"] * 5 + ["test"] * 10
    arrays.columns["id"][7] = arrays.columns["id"][2]
    arrays.columns["id"][29] = arrays.columns["id"][16]
    arrays.frames = {m: [frames[:1] for frames in arrays.frames[m]] for m in "avl"}
    path = writer(tmp_path / "corpus", arrays)
    output = step.refuse(path, "npy_folder" if writer is write_folder else "ragged_hdf5")
    assert f"({path}): utterance id 'u02é' occurs more than once, as number 3 (train) and as number 8 (train)" in output
    assert "(2 such ids)" in output


def test_the_message_on_missing_folds_gives_their_origin(tmp_path, step, arrays):
    path = write_folder(tmp_path / "corpus", arrays)
    output = step.refuse(path, "npy_folder", folds=7, options={"protocol": "leave_one_group_out"})
    assert "Folds: 6, one speaker left out in each" in output
