"""Training on a mixture of levels, or without noise: the copies of an utterance (SPEC 15)."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch
from small_fold import CPU, DIMS, FOLDS, IDS, make_files, utterance

from nmer.plan.conditions import training_copies, validation_copies
from nmer.plan.settings import RunSettings
from nmer.training.batches import epoch_batches, make_batch
from nmer.training.data import FoldData
from nmer.training.validation_split import ValidationSplit


@pytest.fixture
def levels(tmp_path):
    """The small corpus with noisy embeddings of three levels: every value of level k is k."""
    features, _noisy = make_files(tmp_path)
    files = []
    for level in range(3):
        files.append(tmp_path / f"level{level}.h5")
        with h5py.File(files[-1], "w") as file:
            for m in DIMS:
                frames = [np.full_like(utterance(m, number), level) for number in range(len(IDS))]
                file[f"{m}/values"] = np.concatenate(frames)
    return features, files


def mixed(regime: str = "all_noisy", **keys: object) -> RunSettings:
    return RunSettings("small", "nmer", regime, 1, 1, **{"trained_at": "mixed", "mixed": ["x", "y", "z"]} | keys)


def test_levels_are_drawn_uniformly_per_utterance_and_epoch():
    drawn = np.array([training_copies(1, 3000, "small", 1, 1, epoch, levels=3) for epoch in range(4)])
    assert np.bincount(drawn.ravel())[1:] / drawn.size == pytest.approx([1 / 3] * 3, abs=0.02)
    assert (drawn[0] == drawn[1]).mean() == pytest.approx(1 / 3, abs=0.05)
    both = np.bincount(training_copies(3, 3000, "small", 1, 1, 0, levels=3))[1:]
    assert both / 3000 == pytest.approx([1 / 9] * 9, abs=0.02), "the draw and the level are independent"
    several = training_copies(2, 3000, "small", 1, 1, 0, levels=3)
    assert set(several.tolist()) == {1, 2, 3, 4, 5, 6}
    np.testing.assert_array_equal((several - 1) % 2 + 1, training_copies(2, 3000, "small", 1, 1, 0))


def test_the_name_of_an_utterance_determines_its_validation_level():
    names = [f"u{number}" for number in range(3000)]
    found = validation_copies(2, "small", names, levels=3)
    assert set(found.tolist()) == {1, 3, 5}, "the first draw of each level"
    assert np.bincount(found)[[1, 3, 5]] / len(found) == pytest.approx([1 / 3] * 3, abs=0.03)
    np.testing.assert_array_equal(found[::-1], validation_copies(2, "small", names[::-1], levels=3))
    assert set(validation_copies(2, "small", names, levels=2).tolist()) == {1, 3}
    assert set(validation_copies(1, "small", names, levels=1).tolist()) == {1}


def test_mixed_training_uses_every_level_and_validates_each_utterance_at_one(levels):
    features, files = levels
    data, settings = FoldData(features, files, 1, CPU), mixed()
    assert data.noisy_copies == (1, 2, 3)
    used = set()
    for epoch in range(4):
        for rows, noisy, copies, _lengths in epoch_batches(data, settings, [1], epoch):
            batch = make_batch(data, rows, noisy, None, ("l",), copies)
            values = batch.observed["l"].values
            np.testing.assert_array_equal(values[:, 0, 0].numpy(), copies.numpy() - 1)
            used |= set(copies.tolist())
    assert used == {1, 2, 3}
    read = {}
    ValidationSplit(data, settings).predict(
        ("l",),
        lambda modality, rows, copies: read.setdefault(modality, copies) * torch.zeros(()),
        lambda encodings, noisy: torch.zeros(len(FOLDS[1]["val"])),
        6,
    )
    expected = validation_copies(1, "small", [IDS[row] for row in FOLDS[1]["val"]], levels=3)
    np.testing.assert_array_equal(read["l"].numpy(), expected)


def test_training_at_clean_uses_clean_features_under_the_conditions_of_its_regime(levels):
    features, _files = levels
    data = FoldData(features, None, 1, CPU)
    settings = mixed("incomplete", trained_at="clean", mixed=[])
    rows, noisy, copies, _lengths = epoch_batches(data, settings, [1], 0)[0]
    batch = make_batch(data, rows, noisy, None, None, copies)
    for position, row in enumerate(rows.tolist()):
        np.testing.assert_array_equal(batch.observed["l"].values[position], utterance("l", row))
    assert noisy.any()
    assert data.noisy_copies == (0,)
