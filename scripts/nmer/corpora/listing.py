"""Labels written as names or numbers."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from nmer.errors import DataError, nearest

MOST_NUMBERS = 20
"""Labels with more different numbers are scores, unless the configuration names them as classes."""


def real_numbers(values: Sequence[str], path: str | Path, column: str) -> np.ndarray:
    """(n,) float64 from text. Raises DataError, naming the column, for what is no finite number."""
    numbers = np.empty(len(values))
    for row, value in enumerate(values):
        try:
            numbers[row] = float(value)
        except ValueError:
            numbers[row] = math.nan
        if not math.isfinite(numbers[row]):
            raise DataError(f"{path}: '{value}' in the column '{column}' is no finite number. Correct it.")
    return numbers


def check_class_names(classes: Collection[str], path: str | Path, section: str) -> None:
    """Raise DataError if the classes found are so many numbers that they are scores. section: the dataset's key."""
    if len(classes) > MOST_NUMBERS and all(map(_is_number, classes)):
        raise DataError(
            f"{path}: the labels are {len(classes)} different numbers, more than {MOST_NUMBERS}: scores rather than "
            f"classes. Set {section}.target: score, or name every class in {section}.classes."
        )


def _is_number(text: str) -> bool:
    try:
        return float(text) is not None
    except ValueError:
        return False


def number_labels(
    values: Sequence[str | int], classes: Sequence[str] | None, path: str | Path
) -> tuple[np.ndarray, list[str]]:
    """Label numbers (n,) int64 and class names in label order, from labels written as class names or as numbers 0, 1, …

    classes: the names in label order; without them the names found, sorted, or the numbers found.
    Raises DataError for a label that is neither a class nor a number of one.
    """
    written = [str(value) for value in values]
    numbered = all(value.isdecimal() for value in written)
    if classes is None:
        found = sorted(set(written), key=int) if numbered else sorted(set(written))
        if numbered and [int(value) for value in found] != list(range(len(found))):
            raise DataError(f"{path}: the label numbers {', '.join(found)} leave gaps. Name all in the key 'classes'.")
        classes = found
    if numbered and not set(written) <= set(classes):
        numbers = [int(value) for value in written]
        if max(numbers) >= len(classes):
            raise DataError(f"{path}: label {max(numbers)} is outside the {len(classes)} classes of the key 'classes'.")
        return np.array(numbers, np.int64), list(classes)
    position = {name: index for index, name in enumerate(classes)}
    for value in written:
        if value not in position:
            raise DataError(f"{path}: label '{value}' is not a class. {nearest(value, classes)}")
    return np.array([position[value] for value in written], np.int64), list(classes)
