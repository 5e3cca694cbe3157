"""Read the predictions of all runs of an experiment as arrays. Scores are read by ``nmer.results.scores``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nmer.errors import DataError
from nmer.names import CLASSES, CONDITIONS, MEDIAN, PREDICTION, SCORE, predictions_path
from nmer.results.scores import TRAINED_AT, read_all_scores, tested_incomplete
from nmer.snr_column import snr_of

RUN = ("dataset", "system", "regime", "noise", "snr_db")


@dataclass(frozen=True)
class FoldPredictions:
    """Predictions of the models of one run and fold for its test utterances.

    utterances: (n,) ids, ascending. labels: (n,) class numbers, or scores. predicted: (repeats, conditions, n) of the
    same kind; -1, or NaN for scores, where an utterance is not tested under a condition. training_median: median of the
    fold's training scores; NaN for classes.
    """

    utterances: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    training_median: float = np.nan

    @property
    def tested(self) -> np.ndarray:
        """(repeats, conditions, n) bool: which entries of ``predicted`` are predictions."""
        is_score = self.predicted.dtype.kind == "f"
        tested: np.ndarray = ~np.isnan(self.predicted) if is_score else self.predicted >= 0
        return tested


@dataclass(frozen=True)
class Run:
    """One evaluated run. key: values of RUN, None for no SNR. conditions: those tested, in the order of their names.

    folds: fold number -> its predictions. classes: empty for scores. trained_at: as the column of scores; empty if the
    training is tested only at its own level.
    """

    key: tuple[Any, ...]
    classes: tuple[str, ...]
    conditions: tuple[str, ...]
    folds: dict[int, FoldPredictions]
    trained_at: str = ""

    @property
    def target(self) -> str:
        """The predicted target: classes or scores."""
        return CLASSES if self.classes else SCORE

    def averaged(self) -> list[int]:
        """Positions in ``conditions`` of the incomplete ones, which scores are averaged over."""
        return [self.conditions.index(name) for name in tested_incomplete(self.conditions)]


def read_runs(paths: Iterable[str | Path]) -> list[Run]:
    """Read the runs whose scores are at ``paths``. Raises DataError if scores or predictions are missing or damaged."""
    return [_read_run(Path(path)) for path in paths]


def _read_run(path: Path) -> Run:
    first = read_all_scores(path).iloc[0]
    *names, snr_db = first[list(RUN)]
    key = (*names, snr_of(snr_db))
    file = predictions_path(path)
    try:
        table = pd.read_csv(file, dtype=dict.fromkeys(("utterance", "condition", "label"), str), keep_default_na=False)
        columns = [name for name in table.columns if name.startswith("prob_")]
        predicted = table[columns or [PREDICTION]].to_numpy(np.float32)
        if table.empty or not np.isfinite(predicted).all():
            raise ValueError("a prediction is missing, or all of them are")
        predicted = predicted.argmax(axis=1) if columns else predicted[:, 0].astype(np.float64)
        conditions = tuple(name for name in CONDITIONS if name in set(table["condition"]))
        folds = {
            int(part["fold"].iloc[0]): _fold(part, predicted[part.index], conditions, table["repeat"].max())
            for _, part in table.groupby("fold")
        }
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise DataError(f"{file}: cannot be read as predictions ({error}). Delete it and run again.") from None
    classes = tuple(name.removeprefix("prob_") for name in columns)
    return Run(key, classes, conditions, folds, first.get(TRAINED_AT, ""))


def _fold(part: pd.DataFrame, predicted: np.ndarray, conditions: tuple[str, ...], repeats: int) -> FoldPredictions:
    utterances, position = np.unique(part["utterance"].to_numpy(str), return_inverse=True)
    labels = np.empty(len(utterances), predicted.dtype)
    labels[position] = part["label"].astype(predicted.dtype)  # from text, exactly
    grid = np.full((repeats, len(conditions), len(utterances)), -1 if predicted.dtype.kind == "i" else np.nan)
    condition = part["condition"].map({name: index for index, name in enumerate(conditions)})
    grid[part["repeat"] - 1, condition, position] = predicted
    return FoldPredictions(utterances, labels, grid, float(part[MEDIAN].iloc[0]) if MEDIAN in part else np.nan)
