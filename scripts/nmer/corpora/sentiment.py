"""Sentiment of CMU-MOSI and CMU-MOSEI, from -3 to 3: conversion to labels, and tables of sentiments (SPEC 5.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nmer.corpora.label_parsing import real_numbers
from nmer.corpora.utterances import describe_scores
from nmer.errors import DataError
from nmer.names import SCORE
from nmer.utterance_table import read_listing

CLASSES = ("negative", "positive")
LARGEST_SENTIMENT = 3.0


@dataclass(frozen=True)
class Sentiments:
    """Sentiments by utterance id, from the table ``path``."""

    path: Path
    by_id: dict[str, float]

    def lookup(self, ids: Sequence[str]) -> np.ndarray:
        """Return the sentiments of utterances, (n,) float64. Raises DataError if one has no row."""
        absent = [name for name in ids if name not in self.by_id]
        if absent:
            raise DataError(
                f"{self.path}: {len(absent)} of {len(ids)} utterances of a split have no row, first '{absent[0]}'. "
                "Complete the table."
            )
        return np.array([self.by_id[name] for name in ids], np.float64)


def read_sentiments(path: Path) -> Sentiments:
    """Read a CSV with the columns ``id`` and ``sentiment``.

    Raises DataError if it is damaged, an id occurs twice, or a sentiment is outside -3..3.
    """
    columns = read_listing(path, ("id", "sentiment"))
    repeated = [name for name, count in Counter(columns["id"]).items() if count > 1]
    if repeated:
        raise DataError(f"{path}: id '{repeated[0]}' has more than one row. Keep one.")
    values = real_numbers(columns["sentiment"], path, "sentiment")
    wrong = np.flatnonzero(np.abs(values) > LARGEST_SENTIMENT)
    if len(wrong):
        name = columns["id"][wrong[0]]
        raise DataError(f"{path}: id '{name}' has sentiment {values[wrong[0]]:g}, outside -3..3. Correct it.")
    return Sentiments(path, dict(zip(columns["id"], values.tolist(), strict=True)))


def sentiment_labels(sentiment: np.ndarray, target: str) -> tuple[np.ndarray, list[str], str]:
    """Convert sentiments (n,) to labels, class names and a note: scores or two classes, depending on ``target``."""
    if target == SCORE:
        return sentiment, [], describe_scores(sentiment)
    value_range = f"; sentiments range from {sentiment.min():g} to {sentiment.max():g}" if len(sentiment) else ""
    note = f"Classes: 0 = negative (sentiment below 0), 1 = positive (0 and above){value_range}."
    return (sentiment >= 0).astype(np.int64), list(CLASSES), note
