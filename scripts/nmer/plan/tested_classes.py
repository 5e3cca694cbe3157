"""Whether every class is there in every test: UA, the mean of the recalls of all classes, needs that (SPEC 6.1).

Checked before anything is stored, for an evaluation would find it out only after the training.
"""

from __future__ import annotations

import numpy as np

from nmer.corpora.corpus import Corpus, CorpusSettings
from nmer.corpora.validation import background
from nmer.errors import DataError
from nmer.metrics import SCORE
from nmer.names import ONE_CONDITION, conditions
from nmer.plan.conditions import test_items

SHOWN = 5
"""How many missing classes the message lists."""


def check_tested_classes(corpus: Corpus, settings: CorpusSettings) -> None:
    """Raise DataError if a class has no utterance in the validation split of a fold, or under a condition in its test
    split. Folds beyond the key ``folds`` are not run, and not checked.

    Validation scores all conditions together, a test each by itself (SPEC 5.4). Scores have no classes to miss.
    """
    if settings.target == SCORE:
        return
    missing: list[str] = []
    for number, fold in corpus.folds.items():
        if number > settings.folds:
            continue
        missing += [f"fold {number}, val: {name}" for name in _absent(corpus, fold["val"])]
        utterances = [corpus.ids[row] for row in fold["test"]]
        items = test_items(
            conditions(settings.modalities), settings.evaluation, settings.dataset, utterances, settings.modalities
        )
        everywhere = _absent(corpus, fold["test"])
        missing += [f"fold {number}, test: {name}" for name in everywhere]
        missing += [
            f"fold {number}, test, condition {condition}: {name}"
            for condition, positions in items.items()
            for name in _absent(corpus, fold["test"][positions])
            if name not in everywhere
        ]
    if not missing:
        return
    listed = "; ".join(missing[:SHOWN]) + f"; and {len(missing) - SHOWN} more" * (len(missing) > SHOWN)
    key = f"datasets.{settings.dataset}"
    remedy = f", set {key}.evaluation: every_condition" if settings.evaluation == ONE_CONDITION else ""
    raise DataError(
        f"{key}: a class has no utterance in a split that is scored ({listed}). UA needs every class there. Choose "
        f"other folds, lower {key}.folds so that these are not run{remedy}, or leave the class out."
        f"{background(corpus)}"
    )


def _absent(corpus: Corpus, rows: np.ndarray) -> list[str]:
    """Names of the classes that some utterances lack."""
    counts = np.bincount(corpus.labels[rows], minlength=len(corpus.classes))
    return [name for name, count in zip(corpus.classes, counts.tolist(), strict=True) if not count]
