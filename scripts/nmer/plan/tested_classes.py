"""Check that every test contains every class, because UA is the mean recall over all classes (SPEC 6.1).

Checked before anything is stored. An evaluation would only find it after the training.
"""

from __future__ import annotations

import numpy as np

from nmer.corpora.corpus import Corpus, CorpusSettings
from nmer.corpora.validation import background
from nmer.errors import DataError
from nmer.names import ONE_CONDITION, SCORE, conditions
from nmer.plan.conditions import test_items

SHOWN = 5
"""Number of missing classes that the message lists."""


def check_tested_classes(corpus: Corpus, settings: CorpusSettings) -> None:
    """Raise DataError if a class has no utterance in the validation split of a fold, or under a condition in its test
    split. Folds beyond the key ``folds`` are not run and not checked.

    Validation pools all conditions; tests score each separately (SPEC 5.4). Corpora with scores have no classes.
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
        f"{key}: a class has no utterance in a split that is scored ({listed}), but UA needs every class. Choose other "
        f"folds, lower {key}.folds so that these are not run{remedy}, or remove the class."
        f"{background(corpus)}"
    )


def _absent(corpus: Corpus, rows: np.ndarray) -> list[str]:
    """Return the names of the classes that some utterances lack."""
    counts = np.bincount(corpus.labels[rows], minlength=len(corpus.classes))
    return [name for name, count in zip(corpus.classes, counts.tolist(), strict=True) if not count]
