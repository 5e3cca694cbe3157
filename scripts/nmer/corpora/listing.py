"""Labels written as names or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nmer.errors import DataError, nearest


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
