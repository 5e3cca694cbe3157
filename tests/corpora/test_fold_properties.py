"""Folds of any corpus: every utterance tested once, in one split at a time, groups together, classes spread evenly."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmer.corpora.folds import fixed_split, leave_one_group_out, numbered_parts, score_strata, stratified
from nmer.errors import DataError

GROUPS = st.lists(st.sampled_from(["b", "a", "Ü", "10", "9", "c d"]), min_size=1, max_size=40)
LABELS = st.lists(st.integers(0, 3), min_size=8, max_size=60)
few_of_a_class = pytest.mark.filterwarnings("ignore:The least populated class")


def check(folds: dict, utterances: int) -> list[int]:
    """Check properties of every scheme; return the number of the part that tests each utterance, from 1."""
    assert list(folds) == list(range(1, len(folds) + 1))
    assert len(folds) >= 3
    part_of = {}
    for number, fold in folds.items():
        assert list(fold) == ["train", "val", "test"]
        assert sorted(index for split in fold.values() for index in split.tolist()) == list(range(utterances))
        for index in fold["test"].tolist():
            assert part_of.setdefault(index, number) == number
    for number, fold in folds.items():
        assert fold["val"].tolist() == folds[number % len(folds) + 1]["test"].tolist()
    return [part_of[index] for index in range(utterances)]


@given(GROUPS)
def test_folds_leave_out_one_group_each_sorted_by_name_or_too_few_groups_are_refused(groups):
    names = sorted(set(groups))
    if len(names) < 3:
        with pytest.raises(DataError, match="list"):
            leave_one_group_out(groups, "list")
        return
    parts = check(leave_one_group_out(groups, "list"), len(groups))
    assert parts == [1 + names.index(group) for group in groups]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=30))
def test_numbered_parts_keep_their_numbers_or_gaps_are_refused(column):
    texts = [str(number) for number in column]
    if set(column) != set(range(1, max(column) + 1)) or max(column) < 3:
        with pytest.raises(DataError, match="list"):
            numbered_parts(texts, "list")
        return
    assert check(numbered_parts(texts, "list"), len(column)) == column


@few_of_a_class
@given(LABELS, st.integers(3, 6))
def test_stratified_parts_have_class_shares_as_equal_as_possible(labels, count):
    # A class is in at most as many parts as it has utterances, and some class must be in every part.
    if max(Counter(labels).values()) < count:
        with pytest.raises(DataError, match="cannot be divided"):
            stratified(np.array(labels), None, count, "made", "list")
        return
    folds = stratified(np.array(labels), None, count, "made", "list")
    assert len(folds) == count
    parts = check(folds, len(labels))
    for label in set(labels):
        shares = [sum(p == part and own == label for p, own in zip(parts, labels, strict=True)) for part in folds]
        assert max(shares) - min(shares) <= 1
    again = stratified(np.array(labels), None, count, "made", "list")
    assert check(again, len(labels)) == parts


@few_of_a_class
@given(st.data(), LABELS, st.integers(3, 5))
def test_stratified_parts_keep_every_group_together(data, labels, count):
    groups = data.draw(st.lists(st.integers(0, 9).map(str), min_size=len(labels), max_size=len(labels)))
    if len(set(groups)) < count or max(Counter(labels).values()) < count:
        with pytest.raises(DataError, match="cannot be divided"):
            stratified(np.array(labels), groups, count, "made", "list")
        return
    folds = stratified(np.array(labels), groups, count, "made", "list")
    parts = check(folds, len(labels))
    assert len(folds) == count
    assert all(len(fold["test"]) for fold in folds.values())
    assert len(set(zip(groups, parts, strict=True))) == len(set(groups))


SPLITS = {"train": ("train", "Training"), "val": ("val", "valid", "DEV", "validation"), "test": ("test", "TESTING")}
SPELT = {name: split for split, names in SPLITS.items() for name in names}


@given(st.lists(st.sampled_from([*SPELT, "holdout"]), min_size=1, max_size=20))
def test_a_column_of_splits_is_one_fold_in_any_spelling(column):
    if "holdout" in column:
        with pytest.raises(DataError, match="list: 'holdout' is not a split"):
            fixed_split(column, "list")
        return
    (fold,) = fixed_split(column, "list").values()
    for split, index in fold.items():
        assert index.tolist() == [place for place, name in enumerate(column) if SPELT[name] == split]


def test_the_strata_of_scores_are_fifths_of_the_corpus():
    scores = np.random.default_rng(0).permutation(100) / 7
    strata = score_strata(scores)
    assert np.bincount(strata).tolist() == [20] * 5
    assert (np.diff(strata[np.argsort(scores)]) >= 0).all()


def test_the_shuffling_of_stratified_folds_depends_on_the_name_of_the_dataset():
    labels = np.repeat([0, 1], 30)
    first, again, other = (stratified(labels, None, 3, name, "place")[1]["test"].tolist() for name in ("x", "x", "y"))
    assert first == again
    assert first != other
