"""The benchmark of selection on the test split compares it with selection on the validation split."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, recall_score
from small_fold import FOLDS, LABELS, builder, fold_data, make_files, normalised, run_settings, train_one

from nmer.systems.interface import Sequences
from nmer.training.loop import fit

ROOT = Path(__file__).resolve().parents[2]

sys.path.insert(0, str(ROOT / "benchmarks"))
selection: ModuleType = importlib.import_module("selection_on_test")
sys.path.pop(0)


def epoch(val_ua: float, test_ua: float, test_wa: float) -> dict[str, float]:
    return {"val_UA": val_ua, "test_UA": test_ua, "test_WA": test_wa}


def test_each_selection_gives_the_test_scores_of_its_epoch():
    history = [epoch(0.5, 0.7, 0.6), epoch(0.8, 0.6, 0.65), epoch(0.7, 0.72, 0.5)]
    by_validation, by_test = selection.selections(history)
    assert by_validation == {"UA": 0.6, "WA": 0.65}
    assert by_test == {"UA": 0.72, "WA": 0.5}


def test_the_earliest_of_equal_epochs_is_selected():
    history = [epoch(0.5, 0.5, 0.1), epoch(0.8, 0.6, 0.2), epoch(0.8, 0.6, 0.3)]
    assert [found["WA"] for found in selection.selections(history)] == [0.2, 0.2]


def test_selection_on_test_scores_never_lowers_the_selecting_score():
    history = [epoch(0.1 * number % 0.7, 0.3 * number % 0.9, 0.0) for number in range(20)]
    by_validation, by_test = selection.selections(history)
    assert by_test["UA"] >= by_validation["UA"]
    assert by_test["UA"] == pytest.approx(max(row["test_UA"] for row in history))


@pytest.mark.parametrize("regime", ["clean", "incomplete"])
def test_the_test_split_is_scored_in_noise_and_the_training_is_unchanged(tmp_path, regime):
    data, settings = fold_data(make_files(tmp_path)), run_settings(regime=regime, epochs=2)
    learner = selection.Watched(builder(), data, settings, 1)
    _weights, history = fit(learner, settings)[1]
    _weights, expected = train_one(builder(), data, settings)
    assert [row["val_UA"] for row in history] == [row["val_UA"] for row in expected]
    # Predictions of the last epoch by plain forward passes.
    system = builder()()
    system.load_state_dict(learner.weights(1))
    labels, predicted = [], []
    for number in FOLDS[1]["test"]:
        for condition in ("a", "v", "l", "av", "al", "vl"):
            frames = {m: normalised(m, number, m not in condition).astype(np.float32) for m in "avl"}
            sequences = {m: Sequences(torch.from_numpy(x)[None], torch.tensor([len(x)])) for m, x in frames.items()}
            with torch.no_grad():
                system.eval()
                logits = system.fuse({m: system.encode(m, sequences[m]) for m in system.modalities})["logits"]
            labels.append(LABELS[number])
            predicted.append(int(logits.argmax()))
    assert history[-1]["test_UA"] == pytest.approx(recall_score(labels, predicted, average="macro"))
    assert history[-1]["test_WA"] == pytest.approx(accuracy_score(labels, predicted))
