"""The data of a fold: padded sequences, clean or noisy, with the same normalisation."""

from __future__ import annotations

import shutil

import h5py
import numpy as np
import pytest
import torch
from small_fold import CLASSES, CPU, DIMS, FOLDS, IDS, LABELS, fold_data, make_files, normalised

from nmer.errors import DataError
from nmer.training.data import FoldData


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("fold", [1, 2])
def test_a_fold_has_its_utterances_labels_and_splits(files, fold):
    data = fold_data(files, fold)
    assert (data.ids, data.classes, data.dims) == (IDS, CLASSES, DIMS)
    assert data.labels.tolist() == LABELS.tolist()
    assert {name: rows.tolist() for name, rows in data.splits.items()} == {
        name: rows.tolist() for name, rows in FOLDS[fold].items()
    }


@pytest.mark.parametrize("fold", [1, 2])
@pytest.mark.parametrize("modality", DIMS)
def test_sequences_are_padded_and_normalised_with_the_training_statistics_of_the_fold(files, modality, fold):
    rows, noisy = [20, 3, 0, 7, 3], [True, False, True, False, True]
    sequences = fold_data(files, fold).sequences(modality, torch.tensor(rows), torch.tensor(noisy))
    expected = [normalised(modality, row, flag, fold) for row, flag in zip(rows, noisy, strict=True)]
    longest = max(len(frames) for frames in expected)
    assert sequences.values.shape == (5, longest, DIMS[modality])
    assert sequences.lengths.tolist() == [len(frames) for frames in expected]
    for values, frames in zip(sequences.values.numpy(), expected, strict=True):
        np.testing.assert_allclose(values[: len(frames)], frames, rtol=1e-4, atol=1e-4)
        # Exactly zero, despite noise and normalisation.
        assert not values[len(frames) :].any()
    assert modality != "a" or len(set(sequences.lengths.tolist())) > 2


def test_the_training_split_of_a_standardised_modality_has_mean_zero_and_deviation_one(files):
    data = fold_data(files, 2)
    rows = data.splits["train"]
    sequences = data.sequences("a", rows, torch.zeros(len(rows), dtype=torch.bool))
    frames = sequences.values[sequences.valid()].double()
    torch.testing.assert_close(frames.mean(dim=0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-5)
    torch.testing.assert_close(frames.std(dim=0, correction=0), torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-5)


def test_clean_data_need_no_noisy_embeddings(files):
    rows, clean = torch.arange(4), torch.zeros(4, dtype=torch.bool)
    alone = FoldData(files[0], None, 1, CPU)
    for modality in DIMS:
        both = fold_data(files).sequences(modality, rows, clean)
        assert torch.equal(alone.sequences(modality, rows, clean).values, both.values)


def test_noisy_embeddings_of_another_corpus_are_refused(files, tmp_path):
    wrong = tmp_path / "wrong.h5"
    with h5py.File(files[1]) as source, h5py.File(wrong, "w") as file:
        for modality in DIMS:
            file[f"{modality}/values"] = source[modality]["values"][1:]
    with pytest.raises(DataError, match=r"wrong\.h5: 'a' has shape"):
        FoldData(files[0], wrong, 1, CPU)


@pytest.mark.parametrize("damage", ["missing", "truncated", "no modality"])
def test_damaged_noisy_embeddings_are_refused_by_name(files, tmp_path, damage):
    broken = tmp_path / "broken.h5"
    if damage == "truncated":
        broken.write_bytes(files[1].read_bytes()[:700])
    elif damage == "no modality":
        h5py.File(broken, "w").close()
    with pytest.raises(DataError, match=r"broken\.h5"):
        FoldData(files[0], broken, 1, CPU)


def test_a_fold_that_does_not_exist_is_refused(files):
    with pytest.raises(DataError, match="no fold 3"):
        fold_data(files, 3)


def test_deviations_have_the_configured_scope(files, tmp_path):
    features = tmp_path / "x.h5"
    shutil.copy(files[0], features)
    with h5py.File(features, "r+") as file:
        file["v"].attrs["variance_stored"], file["v"].attrs["variance_valid_frames"] = 4.0, 9.0
    assert FoldData(features, files[1], 1, CPU).deviations["v"] == 2.0
    assert FoldData(features, files[1], 1, CPU, "valid_frames").deviations["v"] == 3.0
