"""Validation scores are those of plain forward passes, condition by condition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from small_fold import DIMS, FOLDS, LABELS, Bare, fold_data, make_files, normalised, run_settings

from nmer.training.one_by_one import OneByOne


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def data(files):
    return fold_data(files)


@pytest.mark.parametrize(
    ("regime", "conditions"), [("clean", ["avl"]), ("all", ["none"]), ("six", ["a", "v", "l", "av", "al", "vl"])]
)
def test_validation_pools_the_conditions_of_the_regime(data, regime, conditions):
    torch.manual_seed(2)
    system = Bare()
    labels, guesses = [], []
    for condition in conditions:
        clean = "" if condition == "none" else condition
        for number in FOLDS[1]["val"]:
            features = [normalised(m, number, m not in clean).mean(axis=0) for m in DIMS]
            logits = system.second(system.first(torch.tensor(np.concatenate(features), dtype=torch.float32)))
            guesses.append(int(logits.argmax()))
            labels.append(int(LABELS[number]))
    assert OneByOne(lambda: system, data, run_settings(regime=regime), 1).validate()[0] == pytest.approx(
        {
            "val_WA": reference.accuracy_score(labels, guesses),
            "val_UA": reference.recall_score(labels, guesses, average="macro"),
            "val_F1": reference.f1_score(labels, guesses, average="macro"),
        }
    )
