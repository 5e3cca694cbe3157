"""Folds for corpora without folds: from a column, one group per fold, or stratified (scikit-learn).

Every scheme divides the utterances into parts. Fold k tests part k, validates on the next part (cyclically) and trains
on the others, so every utterance is tested exactly once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import BaseCrossValidator, LeaveOneGroupOut, StratifiedGroupKFold, StratifiedKFold

from nmer.errors import DataError, listed
from nmer.names import SPLITS
from nmer.seeds import derive_seed

MIN_PARTS = 3
"""One to test, one to validate, one to train on."""

STRATA = 5
"""Number of groups of similar scores, which have equal shares in every stratified fold."""

Folds = dict[int, dict[str, np.ndarray]]


def fixed_split(column: Sequence[str], place: str) -> Folds:
    """Make one fold from the split of each utterance: train, val or test (``valid`` and ``dev`` mean ``val``).

    place: file and column, for messages. Raises DataError for another name.
    """
    same = {"valid": "val", "validation": "val", "dev": "val", "training": "train", "testing": "test"}
    names = np.array([same.get(name.lower(), name.lower()) for name in column])
    unknown = ~np.isin(names, SPLITS)
    if unknown.any():
        name = column[int(np.flatnonzero(unknown)[0])]
        raise DataError(f"{place}: '{name}' is not a split. Write train, val or test.")
    return {1: {split: np.flatnonzero(names == split) for split in SPLITS}}


def numbered_parts(column: Sequence[str], place: str) -> Folds:
    """Make folds from a column with the number (1, 2, 3, …) of the fold that tests each utterance.

    place: file and column, for messages. Raises DataError for other values.
    """
    if not all(value.isdecimal() for value in column):
        wrong = next(value for value in column if not value.isdecimal())
        raise DataError(f"{place}: '{wrong}' is not a fold number. Write 1, 2, 3, ….")
    numbers = [int(value) for value in column]
    distinct = sorted(set(numbers))
    if distinct != list(range(1, len(distinct) + 1)):
        found = listed(distinct[:20], len(distinct))
        raise DataError(f"{place}: folds must be numbered 1, 2, 3, … without gaps; found {found}. Correct the column.")
    return _rotate(np.array(numbers, np.int64) - 1, place)


def leave_one_group_out(groups: Sequence[str], place: str) -> Folds:
    """Make one fold per group (speaker, session, …), sorted by name. Raises DataError for fewer than 3 groups."""
    splitter = LeaveOneGroupOut()
    parts = np.empty(len(groups), np.int64)
    for number, (_rest, held_out) in enumerate(_splits(splitter, np.zeros(len(groups)), groups, place)):
        parts[held_out] = number
    return _rotate(parts, place)


def score_strata(scores: np.ndarray) -> np.ndarray:
    """Return the quintile of each score, (n,) int64, as strata for the target score."""
    bounds = np.quantile(scores, np.arange(1, STRATA) / STRATA)
    strata: np.ndarray = np.searchsorted(np.unique(bounds), scores)
    return strata


def stratified(labels: np.ndarray, groups: Sequence[str] | None, count: int, dataset: str, place: str) -> Folds:
    """Make ``count`` folds with the class shares of the corpus. A group (speaker) is never in two parts.

    The seed of shuffling derives from the name of the dataset. Raises DataError if the corpus has too few items.
    """
    if count < MIN_PARTS:
        raise DataError(f"{place}: stratified folds need the dataset's key 'folds' with at least 3. Set it.")
    seed = derive_seed("folds", dataset) % 2**32
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    parts = np.empty(len(labels), np.int64)
    splitter = kind(n_splits=count, shuffle=True, random_state=seed)
    for number, (_rest, held_out) in enumerate(_splits(splitter, labels, groups, place)):
        parts[held_out] = number
    return _rotate(parts, place)


def _splits(
    splitter: BaseCrossValidator, labels: np.ndarray, groups: Sequence[str] | None, place: str
) -> list[tuple[np.ndarray, np.ndarray]]:
    try:
        return list(splitter.split(np.zeros(len(labels)), labels, groups))
    except ValueError as error:
        raise DataError(f"{place}: the corpus cannot be divided in this way ({error}).") from None


def _rotate(parts: np.ndarray, place: str) -> Folds:
    count = int(parts.max()) + 1
    if count < MIN_PARTS:
        raise DataError(f"{place}: {count} parts; training, validation and test need at least 3.")
    folds = {}
    for number in range(count):
        following = (number + 1) % count
        chosen = {"test": parts == number, "val": parts == following}
        chosen["train"] = ~(chosen["test"] | chosen["val"])
        folds[number + 1] = {split: np.flatnonzero(chosen[split]) for split in SPLITS}
    return folds
