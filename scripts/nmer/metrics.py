"""WA, UA and macro-F1 from labels and predictions (SPEC 6.1)."""

from __future__ import annotations

import numpy as np

from nmer.errors import DataError


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Counts, shape (classes, classes): rows are the labels, columns the predictions."""
    return np.bincount(labels * classes + predictions, minlength=classes * classes).reshape(classes, classes)


def score(labels: np.ndarray, predictions: np.ndarray, classes: int) -> dict[str, float]:
    """Scores of one test set.

    labels, predictions: (n,) integers in 0..classes-1.
    Returns WA (accuracy), UA (unweighted mean of the class recalls) and F1 (macro), all fractions.
    Raises DataError if a class has no item, because its recall does not exist.
    """
    matrix = confusion_matrix(np.asarray(labels, np.int64), np.asarray(predictions, np.int64), classes)
    actual, predicted, correct = matrix.sum(axis=1), matrix.sum(axis=0), np.diag(matrix)
    if (actual == 0).any():
        empty = ", ".join(str(index) for index in np.flatnonzero(actual == 0))
        raise DataError(f"UA is undefined: no item of class {empty} in this split. Check the labels and the folds.")
    return {
        "WA": float(correct.sum() / matrix.sum()),
        "UA": float(np.mean(correct / actual)),
        "F1": float(np.mean(2 * correct / (actual + predicted))),
    }
