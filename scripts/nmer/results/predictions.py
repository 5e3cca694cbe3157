"""Predictions of all runs of an experiment as arrays, so that scores can be resampled (DESIGN section 5).

Not for scores as such: those are read by ``nmer.results.scores``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nmer.errors import DataError
from nmer.names import CONDITIONS, predictions_path
from nmer.results.scores import read_scores, tested_incomplete
from nmer.snr_column import snr_of

RUN = ("dataset", "system", "regime", "noise", "snr_db")


@dataclass(frozen=True)
class FoldPredictions:
    """What the models of one run and fold say of its test utterances.

    utterances: (n,) ids, ascending. labels: (n,) class numbers. predicted: (repeats, conditions, n) class numbers,
    -1 where an utterance is not tested under a condition.
    """

    utterances: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray


@dataclass(frozen=True)
class Run:
    """One evaluated run. key: values of RUN, None for no SNR. conditions: tested ones, in the order of the names.

    folds: fold number -> its predictions.
    """

    key: tuple[Any, ...]
    classes: tuple[str, ...]
    conditions: tuple[str, ...]
    folds: dict[int, FoldPredictions]

    def averaged(self) -> list[int]:
        """Positions in ``conditions`` of the incomplete ones, over which scores are averaged."""
        return [self.conditions.index(name) for name in tested_incomplete(self.conditions)]


def read_runs(paths: Iterable[str | Path]) -> list[Run]:
    """The runs whose scores are at ``paths``. Raises DataError if scores or predictions are missing or damaged."""
    return [_read_run(Path(path)) for path in paths]


def _read_run(path: Path) -> Run:
    scores = read_scores(path)
    *names, snr_db = scores.iloc[0][list(RUN)]
    key = (*names, snr_of(snr_db))
    file = predictions_path(path)
    try:
        table = pd.read_csv(file, dtype={"utterance": str, "condition": str}, keep_default_na=False)
        columns = [name for name in table.columns if name.startswith("prob_")]
        probabilities = table[columns].to_numpy(np.float32)
        if table.empty or not np.isfinite(probabilities).all():
            raise ValueError("a probability is missing, or all of them are")
        predicted = probabilities.argmax(axis=1)
        conditions = tuple(name for name in CONDITIONS if name in set(table["condition"]))
        folds = {
            int(part["fold"].iloc[0]): _fold(part, predicted[part.index], conditions, table["repeat"].max())
            for _, part in table.groupby("fold")
        }
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise DataError(f"{file}: cannot be read as predictions ({error}). Delete it and run again.") from None
    return Run(key, tuple(name.removeprefix("prob_") for name in columns), conditions, folds)


def _fold(part: pd.DataFrame, predicted: np.ndarray, conditions: tuple[str, ...], repeats: int) -> FoldPredictions:
    utterances, position = np.unique(part["utterance"].to_numpy(str), return_inverse=True)
    labels = np.empty(len(utterances), np.int64)
    labels[position] = part["label"]
    grid = np.full((repeats, len(conditions), len(utterances)), -1)
    condition = part["condition"].map({name: index for index, name in enumerate(conditions)})
    grid[part["repeat"] - 1, condition, position] = predicted
    return FoldPredictions(utterances, labels, grid)
