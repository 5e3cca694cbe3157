"""Reference rows equal scikit-learn on features pooled individually per utterance."""

from __future__ import annotations

import fit_reference
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.preprocessing import StandardScaler
from small_fold import CLASSES, FOLDS, IDS, LABELS, make_files, run_step, utterance

from nmer.errors import ConfigError
from nmer.plan.conditions import validation_items
from nmer.plan.settings import EvaluationSettings
from nmer.references.logistic_regression import REGULARISATION
from nmer.references.registry import MAJORITY, REFERENCE_TARGETS, REFERENCES, Examples, references
from nmer.training.references import predict_reference

SIX = ("a", "v", "l", "av", "al", "vl")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("references"))


def settings(system: str, regime: str = "incomplete", **changes) -> EvaluationSettings:
    about = {"dataset": "small", "regime": regime, "folds": [1, 2], "repeats": 1, "noise": "gaussian", "snr_db": -10}
    return EvaluationSettings(system=system, **(about | changes))


def vector(number: int, condition: str) -> np.ndarray:
    """Return the means over frames of an utterance under a condition, in the order a, v, l."""
    clean = "" if condition == "none" else condition
    return np.concatenate([utterance(m, number, noisy=m not in clean).mean(axis=0) for m in "avl"])


def naive_predictions(
    fold: dict[str, np.ndarray], conditions: tuple[str, ...], evaluation: str
) -> dict[str, np.ndarray]:
    """Return condition -> probabilities of the test utterances, with regularisation selected by validation UA."""
    rows = [(vector(number, c), LABELS[number]) for c in conditions for number in fold["train"]]
    features, labels = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    scaler = StandardScaler().fit(features)
    regime = "incomplete" if conditions == SIX else "all_noisy"
    items = validation_items(regime, evaluation, "small", [IDS[number] for number in fold["val"]])
    best, chosen = -1.0, None
    for strength in REGULARISATION:
        model = LogisticRegression(C=strength, max_iter=2000).fit(scaler.transform(features), labels)
        ua = []
        for condition, positions in items.items():
            numbers = fold["val"][positions]
            if len(numbers):
                guesses = model.predict(scaler.transform([vector(number, condition) for number in numbers]))
                truth = LABELS[numbers]
                ua.append(recall_score(truth, guesses, average="macro", labels=np.unique(truth)))
        if np.mean(ua) > best:
            best, chosen = np.mean(ua), model
    return {
        c: chosen.predict_proba(scaler.transform([vector(number, c) for number in fold["test"]]))
        for c in (*SIX, "none", "avl")
    }


@pytest.mark.parametrize("regime", ["incomplete", "all_noisy"])
@pytest.mark.parametrize("evaluation", ["every_condition", "one_condition"])
def test_the_logistic_regression_equals_scikit_learn_on_pooled_features(files, regime, evaluation):
    found = predict_reference(
        references.load("logistic_regression"), *files, settings("logistic_regression", regime, evaluation=evaluation)
    )
    for number, fold in FOLDS.items():
        expected = naive_predictions(fold, SIX if regime == "incomplete" else ("none",), evaluation)
        names = [IDS[row] for row in fold["test"]]
        part = found[found["fold"] == number]
        assert len(part) == (8 if evaluation == "every_condition" else 3) * len(names)
        for row in part.itertuples(index=False):
            position = names.index(row.utterance)
            assert row.label == LABELS[fold["test"][position]]
            np.testing.assert_allclose(row[-len(CLASSES) :], expected[row.condition][position], atol=1e-4)


def test_the_majority_class_is_that_of_the_training_split():
    train = Examples(np.zeros((5, 2)), np.array([2, 1, 2, 0, 2]))
    classify = references.load(MAJORITY)(train, [], 4)
    np.testing.assert_allclose(classify(np.ones((3, 2))), np.tile([0.2, 0.2, 0.6, 0], (3, 1)))


def test_a_class_absent_from_training_has_probability_zero():
    random = np.random.default_rng(0)
    train = Examples(random.normal(size=(20, 2)), np.arange(20) % 2 * 2)
    classify = references.load("logistic_regression")(train, [train], 3)
    found = classify(train.features)
    assert (found[:, 1] == 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_every_reference_is_built_in_and_listed():
    assert sorted(REFERENCES) == references.shipped()


@pytest.mark.parametrize("system", [name for name, target in REFERENCE_TARGETS.items() if target == "classes"])
def test_the_step_is_deterministic(files, tmp_path, system):
    about = {"dataset": "small", "system": system, "regime": "incomplete", "folds": [1, 2], "repeats": 1}
    outputs = []
    for name in ("one", "two"):
        paths = {"scores": tmp_path / f"{name}.csv", "predictions": tmp_path / f"{name}_predictions.csv.gz"}
        inputs = {"features": files[0], "noisy": files[1], **paths}
        run_step(fit_reference, about | {"noise": "gaussian", "snr_db": -10}, **inputs)
        outputs.append([path.read_bytes() for path in paths.values()])
    assert outputs[0] == outputs[1]
    scores = pd.read_csv(tmp_path / "one.csv")
    assert set(scores["system"]) == {system}
    assert set(scores["repeat"]) == {1}
    assert len(scores) == 2 * 8 * 4, "two folds, eight conditions, four metrics"


def test_an_unknown_reference_is_named():
    with pytest.raises(ConfigError, match=r"Unknown reference 'majorty'\. Did you mean 'majority'"):
        references.load("majorty")
