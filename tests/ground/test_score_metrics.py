"""Metrics of predicted scores are those of MMSA's definitions, computed with scikit-learn and SciPy (SPEC 14)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from nmer.errors import ConfigError
from nmer.metrics import METRICS, SCORE_METRICS, check_metrics, measure_scores

SIMS_EDGES = {2: [-1.01, 0.0, 1.01], 3: [-1.01, -0.1, 0.1, 1.01], 5: [-1.01, -0.7, -0.1, 0.1, 0.7, 1.01]}


def scores(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw labels on the grid of annotators' means, a fifth of them 0, and predictions beyond their range."""
    random = np.random.default_rng(seed)
    labels = np.round(random.uniform(-3, 3, count) * 5) / 5
    labels[: count // 5] = 0.0
    return labels, 1.5 * labels + random.standard_normal(count)


def sims_class(values: np.ndarray, classes: int) -> np.ndarray:
    """Return classes like MMSA's ``__eval_sims_regression``: above the lower edge, up to the upper edge."""
    found = np.full(len(values), -1)
    for number in range(classes):
        lower, upper = SIMS_EDGES[classes][number : number + 2]
        found[(values > lower) & (values <= upper)] = number
    assert (found >= 0).all()
    return found


def expected(labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    def f1(truth: np.ndarray, guess: np.ndarray) -> float:
        return reference.f1_score(truth, guess, average="weighted", zero_division=0)

    rated = labels != 0
    seven, five = (
        [[round(min(max(value, -largest), largest)) for value in values] for values in (labels, predictions)]
        for largest in (3, 2)
    )
    ours, theirs = np.clip(labels, -1, 1), np.clip(predictions, -1, 1)
    sims = {n: (sims_class(ours, n), sims_class(theirs, n)) for n in SIMS_EDGES}
    return {
        "MAE": reference.mean_absolute_error(labels, predictions),
        "Corr": stats.pearsonr(labels, predictions).statistic,
        "Acc-2-has0": reference.accuracy_score(labels >= 0, predictions >= 0),
        "F1-has0": f1(labels >= 0, predictions >= 0),
        "Acc-2-non0": reference.accuracy_score(labels[rated] > 0, predictions[rated] > 0),
        "F1-non0": f1(labels[rated] > 0, predictions[rated] > 0),
        "Acc-5": reference.accuracy_score(*five),
        "Acc-7": reference.accuracy_score(*seven),
        "SIMS-MAE": reference.mean_absolute_error(ours, theirs),
        "SIMS-Corr": stats.pearsonr(ours, theirs).statistic,
        "SIMS-Acc-2": reference.accuracy_score(*sims[2]),
        "SIMS-F1": f1(*sims[2]),
        "SIMS-Acc-3": reference.accuracy_score(*sims[3]),
        "SIMS-Acc-5": reference.accuracy_score(*sims[5]),
    }


@pytest.mark.parametrize("count", [5, 40, 700])
def test_every_metric_equals_an_independent_computation(count):
    labels, predictions = scores(count, seed=count)
    assert measure_scores(labels, predictions) == pytest.approx(expected(labels, predictions), abs=1e-12)
    assert set(expected(labels, predictions)) == set(SCORE_METRICS)


def test_halves_are_rounded_to_even_numbers():
    labels, predictions = np.array([2.0, 0.0, -2.0, 3.0]), np.array([2.5, 0.5, -1.5, 2.5])
    found = measure_scores(labels, predictions)
    assert found["Acc-7"] == 0.75  # 2.5 is a 2
    assert found["Acc-5"] == 1.0


def test_only_the_two_class_metrics_without_zero_leave_utterances_out():
    labels, predictions = np.array([0.0, 0.0, 1.0, -1.0]), np.array([-1.0, -1.0, 1.0, -1.0])
    found = measure_scores(labels, predictions)
    assert (found["Acc-2-has0"], found["Acc-2-non0"]) == (0.5, 1.0)
    assert np.isnan(measure_scores(labels[:2], predictions[:2])["Acc-2-non0"])


def test_a_bound_of_ch_sims_belongs_to_the_class_below_in_single_precision_too():
    labels = np.array([-0.7, -0.1, 0.0, 0.1, 0.7])
    for stored in (labels, labels.astype(np.float32)):
        found = measure_scores(stored, np.array([-1.0, -0.5, -0.05, 0.05, 0.5]))
        assert (found["SIMS-Acc-5"], found["SIMS-Acc-3"]) == (1.0, 1.0)
    assert measure_scores(np.array([0.0, 0.2]), np.array([-0.5, 0.5]))["SIMS-Acc-2"] == 1.0


@pytest.mark.parametrize("constant", [0.7, 1e6, 0.0])
def test_the_correlation_of_a_constant_is_undefined(constant):
    labels = np.linspace(-3, 3, 50)
    rounding = np.float32(constant) * (1 + 1e-7 * np.resize([-1, 1], 50))
    for predictions in (np.full(50, constant), rounding):
        found = measure_scores(labels, predictions)
        assert np.isnan(found["Corr"])
        assert np.isfinite([found["MAE"], found["Acc-7"]]).all()


@pytest.mark.parametrize("name", SCORE_METRICS)
def test_an_influence_is_the_derivative_by_how_often_an_utterance_counts(name):
    labels, predictions = scores(60, seed=3)
    tested = np.ones(60, bool)
    tested[40:] = False
    value, influences = SCORE_METRICS[name].measure(labels, predictions, tested)
    assert value == pytest.approx(expected(labels[:40], predictions[:40])[name])
    assert influences.sum() == pytest.approx(0, abs=1e-12)
    assert not influences[40:].any()
    # One more utterance among 60 copies of all changes a metric by its influence / 60, to first order.
    copies = 60
    for row in (0, 11, 25):
        more = np.concatenate([np.tile(np.arange(40), copies), [row]])
        moved = expected(labels[more], predictions[more])[name] - value
        assert moved * copies == pytest.approx(influences[row], abs=2e-4)


def test_metrics_of_another_target_are_refused_with_the_valid_ones():
    with pytest.raises(ConfigError, match=r"'Acc-7' needs real-valued scores.*Choose from: WA, UA, F1, WF1"):
        check_metrics(["WA", "Acc-7"], "classes", "experiments.x.metrics")
    with pytest.raises(ConfigError, match=r"'UA' needs classes.*Choose from: MAE, Corr"):
        check_metrics(["UA"], "score", "experiments.x.metrics")
    with pytest.raises(ConfigError, match=r"unknown metric 'Acc7'\. Did you mean 'Acc-7'"):
        check_metrics(["Acc7"], "score", "experiments.x.metrics")


def test_lower_is_better_only_for_errors_and_an_undefined_value_is_the_worst():
    assert [name for name, metric in METRICS.items() if not metric.higher_is_better] == ["MAE", "SIMS-MAE"]
    assert METRICS["MAE"].goodness(0.5) > METRICS["MAE"].goodness(0.6) > METRICS["MAE"].goodness(np.nan)
