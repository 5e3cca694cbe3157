"""The sentiment of CMU-MOSI and CMU-MOSEI, from -3 to 3: as a label, and from a table beside a pickle (SPEC 5.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nmer.corpora.listing import real_numbers
from nmer.corpora.utterances import describe_scores
from nmer.errors import DataError
from nmer.listing import read_listing
from nmer.metrics import SCORE

CLASSES = ("negative", "positive")
LARGEST_SENTIMENT = 3.0


@dataclass(frozen=True)
class Sentiments:
    """Sentiments by utterance id, as ``path`` holds them."""

    path: Path
    by_id: dict[str, float]

    def of(self, ids: Sequence[str]) -> np.ndarray:
        """(n,) float64 of some utterances. Raises DataError if one has no row."""
        absent = [name for name in ids if name not in self.by_id]
        if absent:
            raise DataError(
                f"{self.path}: {len(absent)} of {len(ids)} utterances of a split have no row, first '{absent[0]}'. "
                "Complete the table."
            )
        return np.array([self.by_id[name] for name in ids], np.float64)


def read_sentiments(path: Path) -> Sentiments:
    """A CSV with the columns ``id`` and ``sentiment``. Raises DataError if it is damaged, an id is in two rows, or a
    sentiment is outside -3..3."""
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


def understand_sentiment(sentiment: np.ndarray, target: str) -> tuple[np.ndarray, list[str], str]:
    """Labels, class names and a note on them, of sentiments (n,): the sentiments themselves, or two classes."""
    if target == SCORE:
        return sentiment, [], describe_scores(sentiment)
    found = f"; sentiments run from {sentiment.min():g} to {sentiment.max():g}" if len(sentiment) else ""
    note = f"Classes: 0 = negative (sentiment below 0), 1 = positive (0 and above){found}."
    return (sentiment >= 0).astype(np.int64), list(CLASSES), note
