"""Metrics by name: label, target, direction and computation (SPEC 6.1, 14).

Evaluation, statistics, tables and figures all use this module. A metric of classes is a function of a confusion matrix
whose rows are labels and columns predictions. Its counts may be weighted, as for a resampled test set, and have leading
axes. The slope of a metric is its derivative by each count, which gives the variance of a score. Metrics of predicted
scores are computed in :mod:`nmer.score_metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nmer.errors import ConfigError, DataError, nearest
from nmer.names import CLASSES, SCORE
from nmer.score_metrics import (
    CountMetric,
    Measure,
    above_zero,
    absolute_error,
    binned,
    clipped,
    correlation,
    from_zero,
    rounded,
    sims_class,
)


@dataclass(frozen=True)
class Metric:
    """One metric.

    name: as in files and configuration. label: printed in full. target: classes or score. higher_is_better: its
    direction. lowest, highest: its range.
    """

    name: str
    label: str
    target: str
    higher_is_better: bool = True
    lowest: float = 0.0
    highest: float = 1.0

    @property
    def is_fraction(self) -> bool:
        """Whether its values are fractions from 0 to 1."""
        return (self.lowest, self.highest) == (0.0, 1.0)

    def goodness(self, value: float) -> float:
        """Return a value with its sign chosen so that higher is better; an undefined one is the worst."""
        if np.isnan(value):
            return -np.inf
        return value if self.higher_is_better else -value


@dataclass(frozen=True, kw_only=True)
class ClassMetric(Metric):
    """A metric of classes. value: counts (..., classes, classes) -> fractions (...), NaN without items. slope: the
    derivative of ``value`` by each count, in a shape that broadcasts to that of the counts."""

    value: CountMetric
    slope: CountMetric

    def score(
        self, labels: np.ndarray, predictions: np.ndarray, classes: int, weights: np.ndarray | None = None
    ) -> float:
        """Score class numbers (n,). weights: (n,), how often each counts, default once."""
        return float(self.value(confusion_matrix(labels, predictions, classes, weights)))


@dataclass(frozen=True, kw_only=True)
class ScoreMetric(Metric):
    """A metric of predicted scores. measure: the metric and its influences."""

    measure: Measure


def confusion_matrix(
    labels: np.ndarray, predictions: np.ndarray, classes: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """Count pairs, shape (classes, classes): rows are labels, columns predictions. weights: (n,), default ones."""
    cells = np.asarray(labels, np.int64) * classes + np.asarray(predictions, np.int64)
    counts = np.bincount(cells, weights, minlength=classes * classes)
    matrix: np.ndarray = np.reshape(counts, (classes, classes))
    return matrix


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, 0 where the whole is 0."""
    ratio: np.ndarray = np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole > 0)
    return ratio


def _sizes(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the numbers of items, predictions and correct predictions per class, (..., classes) each."""
    return counts.sum(axis=-1), counts.sum(axis=-2), np.diagonal(counts, axis1=-2, axis2=-1)


def _mean_of_present(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return the mean over the classes that have items; NaN without any."""
    number = present.sum(axis=-1)
    return np.where(number > 0, _ratio((values * present).sum(axis=-1), number), np.nan)


def _wa(counts: np.ndarray) -> np.ndarray:
    total = counts.sum(axis=(-2, -1))
    return np.where(total > 0, _ratio(np.trace(counts, axis1=-2, axis2=-1), total), np.nan)


def _wa_slope(counts: np.ndarray) -> np.ndarray:
    total = counts.sum(axis=(-2, -1))[..., None, None]
    return _ratio(np.eye(counts.shape[-1]) - np.nan_to_num(_wa(counts))[..., None, None], total)


def _ua(counts: np.ndarray) -> np.ndarray:
    items, _predicted, correct = _sizes(counts)
    return _mean_of_present(_ratio(correct, items), items > 0)


def _ua_slope(counts: np.ndarray) -> np.ndarray:
    items, _predicted, correct = _sizes(counts)
    present = (items > 0).sum(axis=-1)[..., None, None]
    return _ratio(np.eye(counts.shape[-1]) - _ratio(correct, items)[..., None], present * items[..., None])


def _f1_of_classes(counts: np.ndarray) -> np.ndarray:
    items, predicted, correct = _sizes(counts)
    return _ratio(2 * correct, items + predicted)


def _f1(counts: np.ndarray) -> np.ndarray:
    return _mean_of_present(_f1_of_classes(counts), counts.sum(axis=-1) > 0)


def _wf1(counts: np.ndarray) -> np.ndarray:
    items = counts.sum(axis=-1)
    total = items.sum(axis=-1)
    return np.where(total > 0, _ratio((items * _f1_of_classes(counts)).sum(axis=-1), total), np.nan)


def _f1_slope_of_shares(counts: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the slope of the mean F1 over classes weighted by fixed shares, (..., classes)."""
    items, predicted, _correct = _sizes(counts)
    by_class = _ratio(shares, items + predicted)
    falling = by_class * _f1_of_classes(counts)
    rising = 2 * by_class[..., None] * np.eye(counts.shape[-1])
    slope: np.ndarray = rising - falling[..., :, None] - falling[..., None, :]
    return slope


def _f1_slope(counts: np.ndarray) -> np.ndarray:
    present = counts.sum(axis=-1) > 0
    return _f1_slope_of_shares(counts, _ratio(present, present.sum(axis=-1, keepdims=True)))


def _wf1_slope(counts: np.ndarray) -> np.ndarray:
    items = counts.sum(axis=-1)
    total = items.sum(axis=-1, keepdims=True)
    moved = _f1_of_classes(counts) - np.nan_to_num(_wf1(counts))[..., None]
    slope: np.ndarray = _f1_slope_of_shares(counts, _ratio(items, total)) + _ratio(moved, total)[..., None]
    return slope


CLASS_METRICS = {
    name: ClassMetric(name, label, CLASSES, value=value, slope=slope)
    for name, label, value, slope in (
        ("WA", "weighted accuracy", _wa, _wa_slope),
        ("UA", "unweighted accuracy", _ua, _ua_slope),
        ("F1", "macro F1", _f1, _f1_slope),
        ("WF1", "weighted F1", _wf1, _wf1_slope),
    )
}


def _accuracy(bins: int, bin_of: Callable[[np.ndarray], np.ndarray], without_zero: bool = False) -> Measure:
    return binned(_wa, _wa_slope, bins, bin_of, without_zero)


def _weighted_f1(bin_of: Callable[[np.ndarray], np.ndarray], without_zero: bool = False) -> Measure:
    return binned(_wf1, _wf1_slope, 2, bin_of, without_zero)


_LOWER, _CORRELATION = (False, 0.0, np.inf), (True, -1.0, 1.0)

SCORE_METRICS = {
    metric.name: metric
    for metric in (
        ScoreMetric("MAE", "mean absolute error", SCORE, *_LOWER, measure=absolute_error),
        ScoreMetric("Corr", "Pearson correlation", SCORE, *_CORRELATION, measure=correlation),
        ScoreMetric("Acc-2-has0", "two-class accuracy, 0 counts as positive", SCORE, measure=_accuracy(2, from_zero)),
        ScoreMetric("F1-has0", "weighted F1, 0 counts as positive", SCORE, measure=_weighted_f1(from_zero)),
        ScoreMetric("Acc-2-non0", "two-class accuracy without 0", SCORE, measure=_accuracy(2, above_zero, True)),
        ScoreMetric("F1-non0", "weighted F1 without 0", SCORE, measure=_weighted_f1(above_zero, True)),
        ScoreMetric("Acc-5", "five-class accuracy", SCORE, measure=_accuracy(5, rounded(2))),
        ScoreMetric("Acc-7", "seven-class accuracy", SCORE, measure=_accuracy(7, rounded(3))),
        ScoreMetric("SIMS-MAE", "mean absolute error of CH-SIMS", SCORE, *_LOWER, measure=clipped(absolute_error, 1)),
        ScoreMetric("SIMS-Corr", "correlation of CH-SIMS", SCORE, *_CORRELATION, measure=clipped(correlation, 1)),
        ScoreMetric("SIMS-Acc-2", "two-class accuracy of CH-SIMS", SCORE, measure=_accuracy(2, sims_class(2))),
        ScoreMetric("SIMS-F1", "weighted F1 of CH-SIMS", SCORE, measure=_weighted_f1(sims_class(2))),
        ScoreMetric("SIMS-Acc-3", "three-class accuracy of CH-SIMS", SCORE, measure=_accuracy(3, sims_class(3))),
        ScoreMetric("SIMS-Acc-5", "five-class accuracy of CH-SIMS", SCORE, measure=_accuracy(5, sims_class(5))),
    )
}
"""Metrics of scores: of the range -3..3 of CMU-MOSI and CMU-MOSEI, and of the range -1..1 of CH-SIMS."""

METRICS: dict[str, Metric] = {**CLASS_METRICS, **SCORE_METRICS}
"""Every metric by name, in the order of tables. Evaluation writes all metrics of its target."""

SHOWN = ("WA", "UA")
"""Metrics of classes that tables, figures and comparisons show by default."""

SHOWN_BY_DEFAULT = {CLASSES: SHOWN, SCORE: ("MAE", "Corr")}
"""Target -> metrics that tables, figures and comparisons show by default."""

SELECTING = {CLASSES: "UA", SCORE: "MAE"}
"""Target -> the metric that selects the epoch on the validation split by default."""


def of_target(target: str = CLASSES) -> tuple[str, ...]:
    """Return the names of the metrics of a target."""
    return tuple(name for name, metric in METRICS.items() if metric.target == target)


def check_metrics(names: Sequence[str], target: str, where: str) -> None:
    """Raises ConfigError for an unknown metric or one of another target. where: the key that lists them."""
    for name in names:
        if name not in METRICS:
            raise ConfigError(f"{where}: unknown metric '{name}'. {nearest(name, of_target(target))}")
        if METRICS[name].target != target:
            need = "needs real-valued scores" if target == CLASSES else "needs classes"
            raise ConfigError(
                f"{where}: metric '{name}' {need}, but the datasets have 'target: {target}'. Choose from: "
                f"{', '.join(of_target(target))}."
            )


def score(labels: np.ndarray, predictions: np.ndarray, classes: int) -> dict[str, float]:
    """Compute every metric of one test set, all as fractions.

    labels, predictions: (n,) integers in 0..classes-1. Raises DataError if a class has no item, because its recall is
    undefined.
    """
    counts = confusion_matrix(labels, predictions, classes)
    empty = np.flatnonzero(counts.sum(axis=1) == 0)
    if len(empty):
        named = ", ".join(map(str, empty))
        raise DataError(f"UA is undefined: no item of class {named} in this split. Check the labels and the folds.")
    return {name: float(metric.value(counts)) for name, metric in CLASS_METRICS.items()}


def measure_scores(labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Compute every metric of predicted scores, NaN if undefined. labels, predictions: (n,) real numbers."""
    labels, predictions = labels.astype(np.float64), predictions.astype(np.float64)
    tested = np.ones(len(labels), bool)
    return {name: float(metric.measure(labels, predictions, tested)[0]) for name, metric in SCORE_METRICS.items()}
