"""Metrics by name: label, direction, and one function of a confusion matrix each (SPEC 6.1, 14).

Evaluation, statistics, tables and figures all take them from here. A metric is a function of counts, rows the labels
and columns the predictions; counts may be weighted, as those of a resampled test set are, and have leading axes. Its
slope is what one more item in a cell adds to it, from which the variance of a score follows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nmer.errors import ConfigError, DataError, nearest

CLASSES = "classes"
"""The target whose labels and predictions are class numbers."""


@dataclass(frozen=True)
class Metric:
    """One metric.

    name: as in files and configuration. label: as printed in full. target: what it is defined for. higher_is_better:
    its direction. value: counts (..., classes, classes) -> (...), a fraction; NaN without an item. slope: the
    derivative of ``value`` by each count, of a shape that broadcasts to that of the counts.
    """

    name: str
    label: str
    target: str
    higher_is_better: bool
    value: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]

    def score(
        self, labels: np.ndarray, predictions: np.ndarray, classes: int, weights: np.ndarray | None = None
    ) -> float:
        """Score of class numbers (n,), each counted as often as its weight says (default once)."""
        return float(self.value(confusion_matrix(labels, predictions, classes, weights)))


def confusion_matrix(
    labels: np.ndarray, predictions: np.ndarray, classes: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """Counts, shape (classes, classes): rows are the labels, columns the predictions. weights: (n,), default ones."""
    cells = np.asarray(labels, np.int64) * classes + np.asarray(predictions, np.int64)
    counts = np.bincount(cells, weights, minlength=classes * classes)
    matrix: np.ndarray = np.reshape(counts, (classes, classes))
    return matrix


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, 0 where the whole is 0."""
    ratio: np.ndarray = np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole > 0)
    return ratio


def _sizes(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Items, predictions and correct ones of every class, (..., classes) each."""
    return counts.sum(axis=-1), counts.sum(axis=-2), np.diagonal(counts, axis1=-2, axis2=-1)


def _mean_of_present(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Mean over the classes of which there is an item; NaN without any."""
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
    """Slope of the mean of the classes' F1 with fixed shares, (..., classes)."""
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


METRICS = {
    metric.name: metric
    for metric in (
        Metric("WA", "weighted accuracy", CLASSES, True, _wa, _wa_slope),
        Metric("UA", "unweighted accuracy", CLASSES, True, _ua, _ua_slope),
        Metric("F1", "macro F1", CLASSES, True, _f1, _f1_slope),
        Metric("WF1", "weighted F1", CLASSES, True, _wf1, _wf1_slope),
    )
}
"""Every metric by name, in the order of tables. Evaluation writes all that exist for its target."""

SHOWN = ("WA", "UA")
"""Metrics that tables, figures and comparisons show by default."""


def of_target(target: str = CLASSES) -> tuple[str, ...]:
    """Names of the metrics that exist for a target."""
    return tuple(name for name, metric in METRICS.items() if metric.target == target)


def check_metrics(names: Sequence[str], where: str) -> None:
    """Raises ConfigError for a name that is no metric. where: the key that lists them."""
    for name in names:
        if name not in METRICS:
            raise ConfigError(f"{where}: unknown metric '{name}'. {nearest(name, METRICS)}")


def score(labels: np.ndarray, predictions: np.ndarray, classes: int) -> dict[str, float]:
    """Every metric of one test set, all fractions.

    labels, predictions: (n,) integers in 0..classes-1. Raises DataError if a class has no item, because its recall does
    not exist.
    """
    counts = confusion_matrix(labels, predictions, classes)
    empty = np.flatnonzero(counts.sum(axis=1) == 0)
    if len(empty):
        named = ", ".join(map(str, empty))
        raise DataError(f"UA is undefined: no item of class {named} in this split. Check the labels and the folds.")
    return {name: float(METRICS[name].value(counts)) for name in of_target()}
