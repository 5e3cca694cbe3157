"""WA, UA and F1 are scikit-learn's accuracy, macro recall and macro F1."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from nmer.errors import DataError
from nmer.metrics import confusion_matrix, score


@pytest.mark.parametrize(("classes", "items"), [(2, 7), (4, 60), (6, 1000)])
def test_scores_equal_those_of_scikit_learn(classes, items):
    generator = np.random.default_rng(items)
    labels = np.concatenate([np.arange(classes), generator.integers(classes, size=items)])
    # A skewed guess, so that WA, UA and F1 are three different numbers.
    predictions = np.where(generator.random(len(labels)) < 0.5, labels, 0)
    expected = {
        "WA": reference.accuracy_score(labels, predictions),
        "UA": reference.balanced_accuracy_score(labels, predictions),
        "F1": reference.f1_score(labels, predictions, average="macro"),
    }
    assert score(labels, predictions, classes) == pytest.approx(expected, abs=1e-12)
    assert expected["UA"] == pytest.approx(reference.recall_score(labels, predictions, average="macro"))
    np.testing.assert_array_equal(
        confusion_matrix(labels, predictions, classes), reference.confusion_matrix(labels, predictions)
    )


def test_a_class_that_is_never_predicted_has_an_f1_of_zero():
    labels, predictions = np.array([0, 0, 1, 2]), np.array([0, 0, 0, 2])
    expected = reference.f1_score(labels, predictions, average="macro", zero_division=0)
    assert score(labels, predictions, 3)["F1"] == pytest.approx(expected)


def test_a_class_without_items_is_refused_by_its_number():
    with pytest.raises(DataError, match=r"no item of class 1, 3\b"):
        score(np.array([0, 2, 2]), np.array([0, 1, 3]), 4)


def test_ua_ignores_how_often_a_class_occurs_and_wa_does_not():
    labels = np.array([0] * 90 + [1] * 10)
    found = score(labels, np.zeros(100, np.int64), 2)
    assert (found["WA"], found["UA"]) == (pytest.approx(0.9), pytest.approx(0.5))
