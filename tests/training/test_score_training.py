"""Training, evaluation, reference rows and prediction for the target score."""

from __future__ import annotations

import sys
from unittest import mock

import evaluate
import fit_reference
import numpy as np
import pandas as pd
import pytest
import torch
import train
from scipy import stats
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler
from small_fold import (
    CPU,
    DIMS,
    FOLDS,
    IDS,
    SCORES,
    SMALL_NMER,
    make_files,
    run_settings,
    run_step,
    train_one,
    utterance,
)

from nmer.cli import main as cli
from nmer.plan.settings import TrainingSettings
from nmer.references.ridge import REGULARISATION
from nmer.systems.building import build_system
from nmer.systems.interface import target_loss
from nmer.training.data import FoldData
from nmer.training.loop import selection_value
from nmer.training.system_checks import check_system

SETTINGS = {"dataset": "small", "system": "men", "regime": "clean", "fold": 1, "repeats": 2}
TRAINING = {"constant_epochs": 3, "decay_epochs": 0, "batch_size": 4, "selection": "MAE"}
SYSTEMS = ("men", "two_tower", "shared", "unimodal_l", "mctn", "mmin", "if_mmin", "nmer", "nmer_no_vae", "nmer_no_inv")
SCORED = {"dataset": "small", "regime": "incomplete", "folds": [1, 2], "repeats": 1, "noise": "gaussian", "snr_db": -10}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("scores"), "score")


@pytest.fixture(scope="module")
def trained(files, tmp_path_factory):
    """Model and history of two repeats trained by the step."""
    folder = tmp_path_factory.mktemp("trained")
    outputs = {name: folder / name for name in ("model", "history", "checkpoints")}
    run_step(train, SETTINGS | {"training": TRAINING}, features=files[0], **outputs)
    return outputs["model"], pd.read_csv(outputs["history"])


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_can_be_trained_and_stacked_on_scores(system):
    options = {"mctn": {"steps": 2}, "nmer": SMALL_NMER, "nmer_no_inv": SMALL_NMER}.get(system, {})
    assert check_system(system, {"a": 5, "v": 4, "l": 6}, options=options, target="score") == []


def test_the_loss_is_the_mean_absolute_or_squared_error():
    predicted, labels = torch.tensor([[0.5], [-1.0], [2.0]]), torch.tensor([0.0, -1.5, 3.0])
    errors = np.array([0.5, 0.5, -1.0])
    assert float(target_loss(predicted, labels)) == pytest.approx(np.abs(errors).mean())
    assert float(target_loss(predicted, labels, "MSE")) == pytest.approx((errors**2).mean())


@pytest.mark.parametrize("loss", ["L1", "MSE"])
def test_training_on_scores_minimises_the_configured_loss(files, loss):
    data = FoldData(*files, 1, CPU)
    settings = run_settings(epochs=15, learning_rate=0.01, selection="loss", score_loss=loss)

    def build():
        system = build_system("men", DIMS, data.outputs, 0.0, {})
        system.score_loss = loss
        return system

    weights, history = train_one(build, data, settings)
    of_training = np.abs(SCORES[FOLDS[1]["val"]] - np.median(SCORES[FOLDS[1]["train"]])).mean()
    best = min(history, key=lambda row: row["val_loss"])
    assert best["val_MAE"] < 0.8 * of_training
    squared = loss == "MSE"
    system = build().eval()
    system.load_state_dict(weights)
    rows = data.splits["val"]
    clean = torch.zeros_like(rows)
    with torch.no_grad():
        encodings = {m: system.encode(m, data.sequences(m, rows, clean)) for m in DIMS}
        errors = system.fuse(encodings)["logits"][:, 0].numpy() - SCORES[FOLDS[1]["val"]]
    assert best["val_loss"] == pytest.approx((errors**2 if squared else np.abs(errors)).mean(), rel=1e-5)


def test_the_epoch_with_the_lowest_validation_error_is_selected(trained):
    _model, history = trained
    assert {"val_MAE", "val_Corr", "val_Acc-7"} <= set(history)
    assert "val_UA" not in history
    row = {"val_MAE": 0.7, "val_Corr": float("nan"), "val_loss": 2.0}
    by = {name: selection_value(row, TrainingSettings(selection=name)) for name in ("MAE", "Corr", "loss")}
    assert by == {"MAE": -0.7, "Corr": -np.inf, "loss": -2.0}


def test_scores_can_be_recomputed_from_the_predictions(files, trained, tmp_path):
    about = {key: SETTINGS[key] for key in ("dataset", "system", "regime", "repeats")} | {"folds": [1]}
    about |= {"noise": "gaussian", "snr_db": -10}
    outputs = {"scores": tmp_path / "s.csv", "predictions": tmp_path / "p.csv.gz"}
    run_step(evaluate, about, features=files[0], noisy=files[1], models=trained[0], **outputs)
    predictions, scores = (pd.read_csv(outputs[name]) for name in ("predictions", "scores"))
    assert set(predictions["training_median"]) == {np.median(SCORES[FOLDS[1]["train"]])}
    label_of = dict(zip(IDS, SCORES, strict=True))
    assert predictions["label"].tolist() == [label_of[name] for name in predictions["utterance"]]
    for (condition, repeat), part in predictions.groupby(["condition", "repeat"]):
        found = scores[(scores["condition"] == condition) & (scores["repeat"] == repeat)].set_index("metric")["value"]
        predicted = part["prediction"].astype(np.float32).astype(float)
        assert found["MAE"] == pytest.approx(np.abs(predicted - part["label"]).mean(), abs=1e-12)
        assert found["Corr"] == pytest.approx(stats.pearsonr(predicted, part["label"]).statistic, abs=1e-9)
        assert found["Acc-2-has0"] == ((predicted >= 0) == (part["label"] >= 0)).mean()


def test_the_command_reproduces_the_scores_of_the_workflow(files, trained, tmp_path):
    about = {key: SETTINGS[key] for key in ("dataset", "system", "regime", "repeats")} | {"folds": [1]}
    outputs = {"scores": tmp_path / "s.csv", "predictions": tmp_path / "p.csv.gz"}
    run_step(evaluate, about, features=files[0], models=trained[0], **outputs)
    arguments = ["predict", "--model", trained[0], "--features", files[0], "--split", "test"]
    arguments += ["--out", tmp_path / "o.csv"]
    with mock.patch.object(sys, "argv", ["nmer", *map(str, arguments)]):
        cli.main()
    columns = ["utterance", "repeat", "prediction"]
    found, expected = (pd.read_csv(path, dtype=str)[columns] for path in (tmp_path / "o.csv", outputs["predictions"]))
    pd.testing.assert_frame_equal(found, expected)


def vector(number: int, condition: str) -> np.ndarray:
    return np.concatenate([utterance(m, number, noisy=m not in condition).mean(axis=0) for m in "avl"])


def test_ridge_equals_scikit_learn_selected_by_validation_mae(files, tmp_path):
    outputs = {"scores": tmp_path / "s.csv", "predictions": tmp_path / "p.csv.gz"}
    run_step(fit_reference, SCORED | {"system": "ridge"}, features=files[0], noisy=files[1], **outputs)
    predictions = pd.read_csv(outputs["predictions"])
    fold, six = FOLDS[1], ("a", "v", "l", "av", "al", "vl")
    rows = [(vector(number, condition), SCORES[number]) for condition in six for number in fold["train"]]
    scaler = StandardScaler().fit([features for features, _score in rows])
    best, chosen = np.inf, None
    for strength in REGULARISATION:
        model = Ridge(alpha=strength).fit(scaler.transform([f for f, _ in rows]), [score for _, score in rows])
        errors = [
            np.abs(model.predict(scaler.transform([vector(n, c) for n in fold["val"]])) - SCORES[fold["val"]]).mean()
            for c in six
        ]
        if np.mean(errors) < best:
            best, chosen = np.mean(errors), model
    part = predictions[(predictions["fold"] == 1) & (predictions["condition"] == "al")]
    expected = chosen.predict(scaler.transform([vector(number, "al") for number in fold["test"]]))
    np.testing.assert_allclose(part["prediction"], expected, rtol=1e-4)


def test_the_median_reference_has_no_correlation(files, tmp_path):
    outputs = {"scores": tmp_path / "s.csv", "predictions": tmp_path / "p.csv.gz"}
    run_step(fit_reference, SCORED | {"system": "median"}, features=files[0], noisy=files[1], **outputs)
    scores = pd.read_csv(outputs["scores"])
    assert scores.loc[scores["metric"] == "Corr", "value"].isna().all()
    assert scores.loc[scores["metric"] != "Corr", "value"].notna().sum() > 0
    predictions = pd.read_csv(outputs["predictions"])
    np.testing.assert_allclose(predictions["prediction"], predictions["training_median"], rtol=1e-6)
