"""Conversion of labels written as names or numbers."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from nmer.errors import DataError, nearest

MAX_NUMERIC_CLASSES = 20
"""More different numbers than this are scores, unless the configuration names them as classes."""


def real_numbers(values: Sequence[str], path: str | Path, column: str) -> np.ndarray:
    """Convert text to (n,) float64. Raises DataError that names the column for values that are not finite numbers."""
    numbers = np.empty(len(values))
    for row, value in enumerate(values):
        try:
            numbers[row] = float(value)
        except ValueError:
            numbers[row] = math.nan
        if not math.isfinite(numbers[row]):
            raise DataError(f"{path}: '{value}' in the column '{column}' is not a finite number. Correct it.")
    return numbers


def check_class_names(classes: Collection[str], path: str | Path, section: str) -> None:
    """Raise DataError if the classes are too many numbers and therefore scores. section: key of the dataset."""
    if len(classes) > MAX_NUMERIC_CLASSES and all(map(_is_number, classes)):
        raise DataError(
            f"{path}: the labels are {len(classes)} different numbers, more than {MAX_NUMERIC_CLASSES}: scores rather "
            f"than classes. Set {section}.target: score, or name every class in {section}.classes."
        )


def _is_number(text: str) -> bool:
    try:
        return float(text) is not None
    except ValueError:
        return False


def number_labels(
    values: Sequence[str | int], classes: Sequence[str] | None, path: str | Path
) -> tuple[np.ndarray, list[str]]:
    """Convert labels, written as class names or numbers 0, 1, …, to numbers (n,) int64 and class names in label order.

    classes: names in label order; by default the names in ``values``, sorted, or the numbers.
    Raises DataError for a label that is neither a class nor the number of one.
    """
    written = [str(value) for value in values]
    are_numbers = all(value.isdecimal() for value in written)
    if classes is None:
        distinct = sorted(set(written), key=int) if are_numbers else sorted(set(written))
        if are_numbers and [int(value) for value in distinct] != list(range(len(distinct))):
            raise DataError(
                f"{path}: the label numbers {', '.join(distinct)} have gaps. Name all in the key 'classes'."
            )
        classes = distinct
    if are_numbers and not set(written) <= set(classes):
        numbers = [int(value) for value in written]
        if max(numbers) >= len(classes):
            raise DataError(f"{path}: label {max(numbers)} is outside the {len(classes)} classes of the key 'classes'.")
        return np.array(numbers, np.int64), list(classes)
    position = {name: index for index, name in enumerate(classes)}
    for value in written:
        if value not in position:
            raise DataError(f"{path}: label '{value}' is not a class. {nearest(value, classes)}")
    return np.array([position[value] for value in written], np.int64), list(classes)
