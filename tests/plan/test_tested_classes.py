"""A class without utterances that UA needs is found before anything is stored."""

from __future__ import annotations

import numpy as np
import pytest

from nmer.corpora.corpus import Corpus, CorpusSettings
from nmer.errors import DataError
from nmer.metrics import score
from nmer.names import CONDITIONS, EVERY_CONDITION, MODALITIES, ONE_CONDITION, SIX_CONDITIONS
from nmer.plan import conditions
from nmer.plan.conditions import fixed_condition
from nmer.plan.tested_classes import check_tested_classes

COUNT = 240


def corpus(labels: np.ndarray, folds: int = 1, classes: int = 3) -> Corpus:
    """Utterances of which each fold tests other forty and validates the forty after them."""
    parts = np.arange(COUNT) // 40
    chosen = {
        number: {
            "train": np.flatnonzero(~np.isin(parts, (number, (number + 1) % 6))),
            "val": np.flatnonzero(parts == (number + 1) % 6),
            "test": np.flatnonzero(parts == number),
        }
        for number in range(1, folds + 1)
    }
    ids = [f"u{index}" for index in range(COUNT)]
    names = [f"class{number}" for number in range(classes)]
    return Corpus(ids, labels, ids, names, {}, {}, chosen, lambda modality, index: np.zeros((1, 1)))


def settings(folds: int = 1, evaluation: str = EVERY_CONDITION) -> CorpusSettings:
    return CorpusSettings("d", "mine", folds=folds, evaluation=evaluation)


def even() -> np.ndarray:
    return np.arange(COUNT) % 3


def dies_when_scored(given: Corpus, evaluation: str) -> bool:
    """Whether a score that is computed after the training raises an error: what is to be known before."""
    for fold in given.folds.values():
        ids = [given.ids[row] for row in fold["test"]]
        items = conditions.test_items(CONDITIONS, evaluation, "d", ids, MODALITIES)
        scored = [fold["val"], *(fold["test"][positions] for positions in items.values())]
        for rows in scored:
            try:
                score(given.labels[rows], np.zeros(len(rows)), len(given.classes))
            except DataError:
                return True
    return False


def test_a_corpus_that_has_every_class_everywhere_is_accepted():
    check_tested_classes(corpus(even(), folds=5), settings(5))


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_class_missing_from_a_split_is_named_with_fold_and_split(split):
    given = corpus(even(), folds=3)
    rows = given.folds[2][split]
    given.labels[rows] = np.where(given.labels[rows] == 1, 0, given.labels[rows])
    with pytest.raises(DataError, match=rf"datasets\.d: .*fold 2, {split}: class1") as error:
        check_tested_classes(given, settings(3))
    assert "\n" not in str(error.value)
    assert f"fold 2, {split}: class0" not in str(error.value)


def test_a_class_missing_from_training_alone_can_be_scored():
    given = corpus(even())
    rows = given.folds[1]["train"]
    given.labels[rows] = np.where(given.labels[rows] == 1, 0, given.labels[rows])
    check_tested_classes(given, settings())


@pytest.mark.parametrize("condition", SIX_CONDITIONS)
def test_a_class_missing_under_one_condition_is_named_with_it(condition):
    given = corpus(np.arange(COUNT) % 2, classes=2)
    for row in given.folds[1]["test"]:
        if fixed_condition("d", given.ids[row]) == condition:
            given.labels[row] = 0
    check_tested_classes(given, settings())  # every utterance under every condition
    with pytest.raises(DataError, match=f"fold 1, test, condition {condition}: class1") as error:
        check_tested_classes(given, settings(evaluation=ONE_CONDITION))
    assert "datasets.d.evaluation: every_condition" in str(error.value)


def test_folds_that_are_not_run_need_nothing():
    given = corpus(even(), folds=3)
    given.labels[given.folds[3]["test"]] = 0
    check_tested_classes(given, settings(1))
    with pytest.raises(DataError, match="fold 3, test: class1"):
        check_tested_classes(given, settings(3))


def test_many_missing_classes_are_counted_not_listed():
    with pytest.raises(DataError, match=r"fold 3, val: class2; and 5 more") as error:
        check_tested_classes(corpus(np.where(even() == 2, 0, even()), folds=5), settings(5))
    assert len(str(error.value)) < 500


def test_refused_is_exactly_what_dies_when_it_is_scored():
    outcomes = []
    for seed in range(40):
        random = np.random.default_rng(seed)
        evaluation = (EVERY_CONDITION, ONE_CONDITION)[seed % 2]
        shares = random.dirichlet([4 if seed % 4 < 2 else 0.6] * 3)
        given = corpus(random.choice(3, COUNT, p=shares), folds=2)
        outcomes.append(dies_when_scored(given, evaluation))
        if outcomes[-1]:
            with pytest.raises(DataError, match="a class has no utterance"):
                check_tested_classes(given, settings(2, evaluation))
        else:
            check_tested_classes(given, settings(2, evaluation))
    assert set(outcomes) == {False, True}
