"""A class whose utterances UA needs and a split lacks is reported before anything is stored."""

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
    """Return a corpus whose folds each test forty utterances and validate the next forty."""
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


def scoring_fails(data: Corpus, evaluation: str) -> bool:
    """Return whether computing a score after the training would raise an error."""
    for fold in data.folds.values():
        ids = [data.ids[row] for row in fold["test"]]
        items = conditions.test_items(CONDITIONS, evaluation, "d", ids, MODALITIES)
        scored = [fold["val"], *(fold["test"][positions] for positions in items.values())]
        for rows in scored:
            try:
                score(data.labels[rows], np.zeros(len(rows)), len(data.classes))
            except DataError:
                return True
    return False


def test_a_corpus_that_has_every_class_everywhere_is_accepted():
    check_tested_classes(corpus(even(), folds=5), settings(5))


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_class_missing_from_a_split_is_named_with_fold_and_split(split):
    data = corpus(even(), folds=3)
    rows = data.folds[2][split]
    data.labels[rows] = np.where(data.labels[rows] == 1, 0, data.labels[rows])
    with pytest.raises(DataError, match=rf"datasets\.d: .*fold 2, {split}: class1") as error:
        check_tested_classes(data, settings(3))
    assert "\n" not in str(error.value)
    assert f"fold 2, {split}: class0" not in str(error.value)


def test_a_class_missing_only_from_training_can_be_scored():
    data = corpus(even())
    rows = data.folds[1]["train"]
    data.labels[rows] = np.where(data.labels[rows] == 1, 0, data.labels[rows])
    check_tested_classes(data, settings())


@pytest.mark.parametrize("condition", SIX_CONDITIONS)
def test_a_class_missing_under_one_condition_is_named_with_it(condition):
    data = corpus(np.arange(COUNT) % 2, classes=2)
    for row in data.folds[1]["test"]:
        if fixed_condition("d", data.ids[row]) == condition:
            data.labels[row] = 0
    check_tested_classes(data, settings())  # every utterance under every condition
    with pytest.raises(DataError, match=f"fold 1, test, condition {condition}: class1") as error:
        check_tested_classes(data, settings(evaluation=ONE_CONDITION))
    assert "datasets.d.evaluation: every_condition" in str(error.value)


def test_folds_that_are_not_run_are_not_checked():
    data = corpus(even(), folds=3)
    data.labels[data.folds[3]["test"]] = 0
    check_tested_classes(data, settings(1))
    with pytest.raises(DataError, match="fold 3, test: class1"):
        check_tested_classes(data, settings(3))


def test_many_missing_classes_are_counted_not_listed():
    with pytest.raises(DataError, match=r"fold 3, val: class2; and 5 more") as error:
        check_tested_classes(corpus(np.where(even() == 2, 0, even()), folds=5), settings(5))
    assert len(str(error.value)) < 500


def test_exactly_the_corpora_whose_scoring_fails_are_refused():
    outcomes = []
    for seed in range(40):
        random = np.random.default_rng(seed)
        evaluation = (EVERY_CONDITION, ONE_CONDITION)[seed % 2]
        shares = random.dirichlet([4 if seed % 4 < 2 else 0.6] * 3)
        data = corpus(random.choice(3, COUNT, p=shares), folds=2)
        outcomes.append(scoring_fails(data, evaluation))
        if outcomes[-1]:
            with pytest.raises(DataError, match="a class has no utterance"):
                check_tested_classes(data, settings(2, evaluation))
        else:
            check_tested_classes(data, settings(2, evaluation))
    assert set(outcomes) == {False, True}
