"""WA, UA, F1 and WF1 are scikit-learn's accuracy, macro recall, macro F1 and weighted F1."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from nmer.errors import DataError
from nmer.metrics import CLASS_METRICS, confusion_matrix, score


@pytest.mark.parametrize(("classes", "items"), [(2, 7), (4, 60), (6, 1000)])
def test_scores_equal_those_of_scikit_learn(classes, items):
    generator = np.random.default_rng(items)
    labels = np.concatenate([np.arange(classes), generator.integers(classes, size=items)])
    # Skewed predictions make the metrics differ from each other.
    predictions = np.where(generator.random(len(labels)) < 0.5, labels, 0)
    expected = {
        "WA": reference.accuracy_score(labels, predictions),
        "UA": reference.balanced_accuracy_score(labels, predictions),
        "F1": reference.f1_score(labels, predictions, average="macro"),
        "WF1": reference.f1_score(labels, predictions, average="weighted"),
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


@st.composite
def predictions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Draw labels with every class, predictions, and the number of classes."""
    classes = draw(st.integers(2, 6))
    labels = [*range(classes), *draw(st.lists(st.integers(0, classes - 1), max_size=30))]
    guesses = draw(st.lists(st.integers(0, classes - 1), min_size=len(labels), max_size=len(labels)))
    return np.array(draw(st.permutations(labels))), np.array(guesses), classes


@given(predictions())
def test_any_scores_are_those_of_scikit_learn(drawn):
    labels, guesses, classes = drawn
    found = score(labels, guesses, classes)
    numbers = list(range(classes))
    assert found["WA"] == pytest.approx(reference.accuracy_score(labels, guesses))
    assert found["UA"] == pytest.approx(reference.recall_score(labels, guesses, average="macro", labels=numbers))
    macro = reference.f1_score(labels, guesses, average="macro", labels=numbers, zero_division=0)
    assert found["F1"] == pytest.approx(macro)
    weighted = reference.f1_score(labels, guesses, average="weighted", labels=numbers, zero_division=0)
    assert found["WF1"] == pytest.approx(weighted)
    matrix = confusion_matrix(labels, guesses, classes)
    np.testing.assert_array_equal(matrix, reference.confusion_matrix(labels, guesses, labels=numbers))
    assert all(0 <= value <= 1 for value in found.values())


@given(predictions(), st.randoms(use_true_random=False))
def test_scores_do_not_depend_on_the_numbers_of_the_classes_or_on_the_order_of_the_items(drawn, chance):
    labels, guesses, classes = drawn
    numbers, order = np.array(chance.sample(range(classes), classes)), chance.sample(range(len(labels)), len(labels))
    again = score(numbers[labels][order], numbers[guesses][order], classes)
    assert again == pytest.approx(score(labels, guesses, classes), rel=1e-12)


@given(predictions(), st.data())
def test_an_integer_weight_counts_an_item_that_many_times(drawn, data):
    labels, guesses, classes = drawn
    weights = np.array(data.draw(st.lists(st.integers(1, 4), min_size=len(labels), max_size=len(labels))))
    repeated = score(labels.repeat(weights), guesses.repeat(weights), classes)
    for name, metric in CLASS_METRICS.items():
        assert metric.score(labels, guesses, classes, weights) == pytest.approx(repeated[name])


def test_a_class_missing_from_a_resample_is_excluded_from_means_over_classes():
    counts = np.array([[3, 1, 0], [0, 0, 0], [1, 0, 4]])
    labels, guesses = np.repeat([0, 2], [4, 5]), np.array([0, 0, 0, 1, 0, 2, 2, 2, 2])
    assert CLASS_METRICS["UA"].value(counts) == pytest.approx((3 / 4 + 4 / 5) / 2)
    kept = reference.f1_score(labels, guesses, average="macro", labels=[0, 2])
    assert CLASS_METRICS["F1"].value(counts) == pytest.approx(kept)
    assert CLASS_METRICS["WF1"].value(counts) == pytest.approx(reference.f1_score(labels, guesses, average="weighted"))
    assert all(np.isnan(metric.value(np.zeros((3, 3)))) for metric in CLASS_METRICS.values())


@given(predictions())
def test_a_slope_is_the_derivative_with_respect_to_a_cell(drawn):
    labels, guesses, classes = drawn
    counts, step = confusion_matrix(labels, guesses, classes).astype(float), 1e-5
    for metric in CLASS_METRICS.values():
        slope = np.broadcast_to(metric.slope(counts), counts.shape)
        for place in np.ndindex(counts.shape):
            more, less = counts.copy(), counts.copy()
            more[place] += step
            less[place] -= step
            change = (metric.value(more) - metric.value(less)) / (2 * step)
            assert slope[place] == pytest.approx(change, abs=1e-6)
        # Scores do not change if every item counts twice, so contributions sum to zero.
        assert (slope * counts).sum() == pytest.approx(0, abs=1e-12)


def test_stacked_counts_are_scored_individually():
    counts = np.random.default_rng(0).integers(0, 9, size=(2, 5, 4, 4))
    for metric in CLASS_METRICS.values():
        expected = [[metric.value(each) for each in row] for row in counts]
        np.testing.assert_allclose(metric.value(counts), expected)
        slopes = [[np.broadcast_to(metric.slope(each), each.shape) for each in row] for row in counts]
        np.testing.assert_allclose(np.broadcast_to(metric.slope(counts), counts.shape), slopes)
