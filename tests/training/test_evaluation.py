"""Predictions equal a naive loop over utterances and conditions, and scores can be recomputed from them."""

from __future__ import annotations

import gzip
import io

import evaluate
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics as reference
from small_fold import CLASSES, DIMS, FOLDS, IDS, LABELS, builder, fold_data, make_files, normalised, run_step

from nmer.errors import DataError
from nmer.plan.conditions import fixed_condition
from nmer.plan.settings import EvaluationSettings
from nmer.systems.interface import Sequences
from nmer.training.evaluation import predict
from nmer.training.evaluation_files import score_predictions
from nmer.training.models import save_models

CONDITIONS = ("a", "v", "l", "av", "al", "vl", "none", "avl")
SETTINGS = {
    "dataset": "small",
    "system": "men",
    "regime": "clean",
    "folds": [1, 2],
    "repeats": 2,
    "noise": "gaussian",
    "snr_db": -10,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("evaluation"))


@pytest.fixture(scope="module")
def system():
    torch.manual_seed(4)
    return builder()()


def naive(system, number: int, condition: str, fold: int = 1) -> np.ndarray:
    """Return class probabilities of one utterance, computed individually."""
    clean = "" if condition == "none" else condition
    encodings = {}
    with torch.no_grad():
        for m in DIMS:
            frames = torch.from_numpy(normalised(m, number, m not in clean, fold).astype(np.float32))[None]
            encodings[m] = system.eval().encode(m, Sequences(frames, torch.tensor([frames.shape[1]])))
        return system.fuse(encodings)["logits"][0].softmax(dim=0).numpy()


def check_rows(found: pd.DataFrame, system, fold: int) -> None:
    for row in found.itertuples():
        number = IDS.index(row.utterance)
        assert row.label == LABELS[number]
        probability = [getattr(row, f"prob_{name}") for name in CLASSES]
        np.testing.assert_allclose(probability, naive(system, number, row.condition, fold), atol=1e-4)


def test_every_test_utterance_is_predicted_under_every_condition(files, system):
    found = predict(system.train(), fold_data(files, 2), EvaluationSettings(**SETTINGS), fold=2, repeat=1)
    expected = [(f"u{number}", condition, 2, 1) for condition in CONDITIONS for number in FOLDS[2]["test"]]
    assert list(found[["utterance", "condition", "fold", "repeat"]].itertuples(index=False, name=None)) == expected
    assert [name for name in found if name.startswith("prob_")] == [f"prob_{name}" for name in CLASSES]
    check_rows(found, system, 2)


def test_one_condition_tests_each_utterance_under_one_condition_all_noisy_and_all_clean(files, system):
    settings = EvaluationSettings(**SETTINGS, evaluation="one_condition")
    found = predict(system, fold_data(files), settings, fold=1, repeat=2)
    for number in FOLDS[1]["test"]:
        own = found[found["utterance"] == f"u{number}"]["condition"].tolist()
        assert sorted(own) == sorted([fixed_condition("small", f"u{number}"), "none", "avl"])
    assert len(found) == 3 * len(FOLDS[1]["test"])
    assert found["label"].dtype.kind == found["fold"].dtype.kind == "i"
    check_rows(found, system, 1)


def test_scores_equal_scikit_learn_per_condition_fold_and_repeat():
    generator = np.random.default_rng(0)
    parts = []
    for condition in ("a", "none"):
        for fold, repeat in ((1, 1), (2, 1), (1, 2)):
            labels = np.concatenate([np.arange(3), generator.integers(3, size=20 + fold)])
            probability = generator.dirichlet(np.ones(3), len(labels))
            part = pd.DataFrame({"condition": condition, "fold": fold, "repeat": repeat, "label": labels})
            part[["prob_x", "prob_y", "prob_z"]] = probability
            parts.append(part)
    scores = score_predictions(pd.concat(parts), EvaluationSettings(**SETTINGS))
    columns = ["dataset", "system", "regime", "noise", "snr_db", "condition", "fold", "repeat", "metric", "value", "n"]
    assert list(scores) == columns
    assert len(scores) == 6 * 4
    for part in parts:
        condition, fold, repeat = part.iloc[0][["condition", "fold", "repeat"]]
        own = scores[(scores["condition"] == condition) & (scores["fold"] == fold) & (scores["repeat"] == repeat)]
        labels, guesses = part["label"], part.filter(like="prob_").to_numpy().argmax(axis=1)
        assert dict(zip(own["metric"], own["value"], strict=True)) == pytest.approx(
            {
                "WA": reference.accuracy_score(labels, guesses),
                "UA": reference.balanced_accuracy_score(labels, guesses),
                "F1": reference.f1_score(labels, guesses, average="macro"),
                "WF1": reference.f1_score(labels, guesses, average="weighted"),
            }
        )
        assert set(own["n"]) == {len(part)}
        assert own[columns[:5]].drop_duplicates().to_numpy().tolist() == [["small", "men", "clean", "gaussian", -10]]


def test_a_condition_in_which_a_class_is_missing_is_refused():
    part = pd.DataFrame({"condition": "a", "fold": 1, "repeat": 1, "label": [0, 0], "prob_x": 0.4, "prob_y": 0.6})
    with pytest.raises(DataError, match="class 1"):
        score_predictions(part, EvaluationSettings(**SETTINGS))


def test_a_clean_reference_has_no_noise_and_no_level():
    part = pd.DataFrame({"condition": "avl", "fold": 1, "repeat": 1, "label": [0, 1], "prob_x": 0.4, "prob_y": 0.6})
    scores = score_predictions(part, EvaluationSettings(**SETTINGS | {"noise": None, "snr_db": None}))
    line = scores.to_csv(index=False).splitlines()[1]
    assert line.startswith("small,men,clean,,,avl,1,1,")


def test_a_system_of_one_modality_is_tested_with_that_modality_noisy(files):
    single = builder("unimodal_v")()
    settings = EvaluationSettings(**SETTINGS | {"system": "unimodal_v", "regime": "all_noisy"})
    found = predict(single, fold_data(files), settings, fold=1, repeat=1)
    assert found["condition"].tolist() == ["none"] * len(FOLDS[1]["test"])
    for row, number in zip(found.itertuples(), FOLDS[1]["test"], strict=True):
        frames = torch.from_numpy(normalised("v", number, True, 1).astype(np.float32))[None]
        with torch.no_grad():
            encoding = single.encode("v", Sequences(frames, torch.tensor([frames.shape[1]])))
            expected = single.fuse({"v": encoding})["logits"][0].softmax(dim=0).numpy()
        np.testing.assert_allclose([getattr(row, f"prob_{name}") for name in CLASSES], expected, atol=1e-4)


def test_a_multimodal_system_that_reads_only_text_is_tested_under_every_condition(files):
    system = builder("mctn", form="hier", steps=2)()
    found = predict(system, fold_data(files), EvaluationSettings(**SETTINGS | {"system": "mctn"}), fold=1, repeat=1)
    columns = [f"prob_{name}" for name in CLASSES]
    by_condition = {condition: part[columns].to_numpy() for condition, part in found.groupby("condition")}
    assert set(by_condition) == set(CONDITIONS)
    for condition, probability in by_condition.items():
        np.testing.assert_array_equal(probability, by_condition["l" if "l" in condition else "none"])
    assert not np.allclose(by_condition["l"], by_condition["none"])


@pytest.mark.parametrize("name", ["men", "unimodal_l"])
def test_without_a_noise_kind_only_clean_features_are_tested(files, tmp_path, name):
    single = builder(name)()
    save_models(tmp_path / "m.safetensors", {1: single.state_dict()}, {})
    settings = {"system": name, "folds": [1], "repeats": 1}
    clean = {key: value for key, value in SETTINGS.items() if key not in ("noise", "snr_db")} | settings
    outputs = {"scores": tmp_path / "s.csv", "predictions": tmp_path / "p.csv.gz"}
    run_step(evaluate, clean, features=files[0], models=[tmp_path / "m.safetensors"], **outputs)
    scores = pd.read_csv(tmp_path / "s.csv", keep_default_na=False)
    assert set(scores["condition"]) == {"avl"}
    assert set(scores["noise"]) == set(scores["snr_db"]) == {""}


def test_a_noise_kind_requires_noisy_embeddings(files, tmp_path, capsys, models):
    inputs = {"features": files[0], "models": models[1]}
    with pytest.raises(SystemExit):
        run_step(evaluate, SETTINGS, **inputs, scores=tmp_path / "s.csv", predictions=tmp_path / "p.csv.gz")
    assert capsys.readouterr().err.startswith("error: --noisy:")


@pytest.fixture
def models(tmp_path):
    """A model file per fold with two untrained repeats, and their systems."""
    systems, paths = {}, []
    for fold in (1, 2):
        states = {}
        for repeat in (1, 2):
            torch.manual_seed(10 * fold + repeat)
            systems[fold, repeat] = builder()()
            states[repeat] = systems[fold, repeat].state_dict()
        paths.append(tmp_path / f"fold{fold}.safetensors")
        save_models(paths[-1], states, {})
    return systems, paths


def run(files, folder, models, **settings) -> None:
    inputs = {"features": files[0], "noisy": files[1], "models": models}
    outputs = {"scores": folder / "out" / "s.csv", "predictions": folder / "out" / "p.csv.gz"}
    run_step(evaluate, SETTINGS | settings, **inputs, **outputs)


def test_the_step_writes_predictions_of_all_folds_and_repeats_and_their_scores(files, tmp_path, models):
    systems, paths = models
    run(files, tmp_path, paths)
    content = (tmp_path / "out" / "p.csv.gz").read_bytes()
    assert content[4:8] == b"\0\0\0\0"
    predictions = pd.read_csv(io.BytesIO(gzip.decompress(content)), keep_default_na=False)
    scores = pd.read_csv(tmp_path / "out" / "s.csv", keep_default_na=False)
    assert len(predictions) == 2 * 2 * 6 * 8
    assert len(scores) == 2 * 2 * 8 * 4
    for (fold, repeat), part in predictions.groupby(["fold", "repeat"]):
        check_rows(part, systems[fold, repeat], fold)
        for condition, rows in part.groupby("condition"):
            own = scores[
                (scores["fold"] == fold) & (scores["repeat"] == repeat) & (scores["condition"] == condition)
            ].set_index("metric")["value"]
            guesses = rows.filter(like="prob_").to_numpy().argmax(axis=1)
            assert own["WA"] == pytest.approx(reference.accuracy_score(rows["label"], guesses), abs=1e-12)
            assert own["UA"] == pytest.approx(
                reference.recall_score(rows["label"], guesses, average="macro"), abs=1e-12
            )


def test_equal_runs_write_equal_files(files, tmp_path, models):
    for name in ("one", "two"):
        run(files, tmp_path / name, models[1])
    for file in ("s.csv", "p.csv.gz"):
        assert (tmp_path / "one" / "out" / file).read_bytes() == (tmp_path / "two" / "out" / file).read_bytes()


@pytest.mark.parametrize(
    ("settings", "few", "words"),
    [
        ({"repeats": 3}, False, ["repeat 3"]),
        ({"folds": [1, 7]}, False, ["fold 7"]),
        ({"batch": 2}, False, ["batch"]),
        ({"system": "nmer"}, False, ["fold1.safetensors"]),
        ({}, True, ["models"]),
    ],
    ids=str,
)
def test_an_impossible_job_ends_in_one_message(files, tmp_path, capsys, models, settings, few, words):
    with pytest.raises(SystemExit) as ending:
        run(files, tmp_path, models[1][:1] if few else models[1], **settings)
    output = capsys.readouterr().err
    assert ending.value.code == 1
    assert output.startswith("error: ")
    assert all(word in output for word in words)
    assert not (tmp_path / "out").exists()
