"""Find trainings at chance. Tables, figures, the report and ``make status`` all use this definition.

A training (one fold and repeat of a run) is judged for every cell it contributes to, using only its own items, so one
repeat is enough. Its items are the test utterances of its fold. An utterance tested under several conditions of the
cell is one item; its value is the share of these conditions in which it is classified correctly, because six
predictions for one utterance are not six independent observations. For marks in tables, see ``tables`` and
``chance_texts``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import pandas as pd

from nmer.metrics import SCORE_METRICS
from nmer.names import ALL_NOISY, AVERAGE, SCORE, all_clean
from nmer.references.registry import CONSTANT
from nmer.results.predictions import RUN, Run
from nmer.results.reading import SNR, read_columns
from nmer.results.scores import TRAINED_AT, at_own_level, modalities_of
from nmer.snr_column import merged_by_level, with_snr

CONFIDENCE = 0.95
ONE_CLASS = 0.99
"""A training with at least this share of its predictions in one class is at chance."""

CELL = (*RUN, "condition")
"""Keys of a judged cell; ``average`` combines the incomplete conditions."""

MARKS = ("trainings", "at_chance", "wa_at_majority")
_TYPES = {
    **dict.fromkeys(("dataset", "system", "regime", "noise"), "str"),
    "snr_db": SNR,
    "condition": "str",
    **dict.fromkeys(("fold", "repeat", "items", "classes"), "int64"),
    **dict.fromkeys(("wa", "majority", "ua", "ua_low", "most_predicted"), "float64"),
    **dict.fromkeys(("at_chance", "wa_at_majority"), "int64"),
}
COLUMNS = tuple(_TYPES)
_OF_CLASSES = ("classes", "wa", "majority", "ua", "ua_low", "most_predicted", "wa_at_majority")
_SCORE_TYPES = {
    **{name: kind for name, kind in _TYPES.items() if name not in _OF_CLASSES},
    **dict.fromkeys(("mae", "median_mae", "corr"), "float64"),
}
SCORE_COLUMNS = tuple(_SCORE_TYPES)


class Verdict(NamedTuple):
    """One training judged for one cell.

    items: utterances. classes: classes among them. wa, ua: over the items, as fractions. majority: share of the
    largest class. ua_low: lower end of the 95 % interval of UA. most_predicted: share of the class predicted most.
    """

    items: int
    classes: int
    wa: float
    majority: float
    ua: float
    ua_low: float
    most_predicted: float

    @property
    def at_chance(self) -> bool:
        """Whether nearly all predictions are one class, or UA is not significantly above 1 / classes."""
        return self.most_predicted >= ONE_CLASS or self.ua_low <= 1 / self.classes

    @property
    def wa_at_majority(self) -> bool:
        """Whether WA does not exceed that of always predicting the largest class. On its own it proves little: on
        imbalanced classes, a system that detects the small classes may lose WA."""
        return self.wa <= self.majority


def judge(labels: np.ndarray, predicted: np.ndarray) -> Verdict:
    """Judge one training for one cell.

    labels: (n,) class numbers. predicted: (conditions, n) class numbers, -1 where an utterance is not tested under a
    condition; an utterance tested under none is not an item. Raises ValueError if there is no item.
    The interval is an adjusted Wald interval for a mean of proportions (UA is the mean of recalls): 4 / classes items
    are added to each class, of which one in ``classes`` is correct, as for a guess. It keeps its width if a recall is 0
    or 1, as for a constant prediction. For two classes it is Agresti and Caffo's (2000). For more, Price and Bonett
    (2004) add the same number with half of it correct, which would shift the interval above chance.
    """
    tested = predicted >= 0
    is_item = tested.any(axis=0)
    if not is_item.any():
        raise ValueError("no utterance was tested")
    labels, predicted, tested = labels[is_item], predicted[:, is_item], tested[:, is_item]
    correct = ((predicted == labels) & tested).sum(axis=0) / tested.sum(axis=0)
    _, label, counts = np.unique(labels, return_inverse=True, return_counts=True)
    classes = len(counts)
    sums, squares = np.bincount(label, correct), np.bincount(label, correct**2)
    added, added_correct = 4 / classes, 4 / classes**2
    size = counts + added
    recall = (sums + added_correct) / size
    variance = ((squares + added_correct) / size - recall**2) / size
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    return Verdict(
        items=len(labels),
        classes=classes,
        wa=float(correct.mean()),
        majority=float(counts.max() / len(labels)),
        ua=float((sums / counts).mean()),
        ua_low=float(recall.mean() - z * np.sqrt(variance.sum()) / classes),
        most_predicted=float(np.bincount(predicted[tested]).max() / tested.sum()),
    )


class ScoreVerdict(NamedTuple):
    """One training that predicts scores, judged for one cell.

    items: utterances. mae: mean absolute error. median_mae: that of the median of the training scores. corr: mean
    correlation over the conditions, NaN if it is undefined in one.
    """

    items: int
    mae: float
    median_mae: float
    corr: float

    @property
    def at_chance(self) -> bool:
        """Whether a constant prediction is at least as good, or the predictions are constant."""
        return not self.mae < self.median_mae or bool(np.isnan(self.corr))


def judge_scores(labels: np.ndarray, predicted: np.ndarray, median: float) -> ScoreVerdict:
    """Judge one training that predicts scores for one cell.

    labels: (n,). predicted: (conditions, n), NaN where an utterance is not tested under a condition. median: of the
    training scores. An utterance counts once, with its mean error over conditions. Raises ValueError without any item.
    """
    tested = ~np.isnan(predicted)
    is_item = tested.any(axis=0)
    if not is_item.any():
        raise ValueError("no utterance was tested")
    used = tested.any(axis=1)
    labels, predicted, tested = labels[is_item], predicted[used][:, is_item], tested[used][:, is_item]
    errors = np.where(tested, np.abs(predicted - labels), 0.0).sum(axis=0) / tested.sum(axis=0)
    correlations, _influences = SCORE_METRICS["Corr"].measure(labels, predicted, tested)
    return ScoreVerdict(
        items=len(labels),
        mae=float(errors.mean()),
        median_mae=float(np.abs(labels - median).mean()),
        corr=float(correlations.mean()),
    )


def judge_runs(runs: Iterable[Run]) -> pd.DataFrame:
    """Judge every training of these runs for each condition and for the incomplete ones combined.

    Returns the columns COLUMNS, or SCORE_COLUMNS for scores, and TRAINED_AT if a training is tested at several levels.
    References with a constant prediction are not judged, because they define chance.
    """
    rows: list[tuple[object, ...]] = []
    columns: tuple[str, ...] = COLUMNS
    for run in (run for run in runs if run.key[1] not in CONSTANT):
        columns = SCORE_COLUMNS if run.target == SCORE else COLUMNS
        cells = {name: [position] for position, name in enumerate(run.conditions)}
        if averaged := run.averaged():
            cells[AVERAGE] = averaged
        for fold, here in run.folds.items():
            for repeat, predicted in enumerate(here.predicted, start=1):
                for condition, positions in cells.items():
                    if run.target == SCORE:
                        judged = judge_scores(here.labels, predicted[positions], here.training_median)
                        items, *values = judged
                        about = (*run.key, condition, fold, repeat, items, int(judged.at_chance))
                        rows.append((*about, *values, run.trained_at))
                        continue
                    verdict = judge(here.labels, predicted[positions])
                    flags = (int(verdict.at_chance), int(verdict.wa_at_majority))
                    rows.append((*run.key, condition, fold, repeat, *verdict, *flags, run.trained_at))
    verdicts = with_snr(pd.DataFrame(rows, columns=[*columns, TRAINED_AT]))
    return verdicts if verdicts[TRAINED_AT].any() else verdicts.drop(columns=TRAINED_AT)


def read_trainings(path: str | Path) -> pd.DataFrame:
    """Read the verdicts on the cells that tables show (:func:`~nmer.results.scores.at_own_level`).

    Columns COLUMNS or SCORE_COLUMNS; otherwise like :func:`read_all_trainings`.
    """
    return at_own_level(read_all_trainings(path))


def read_all_trainings(path: str | Path) -> pd.DataFrame:
    """Read the output of ``find_chance.py``, typed, with the columns of :func:`judge_runs`. Raises DataError if the
    file is missing or damaged."""
    try:
        with Path(path).open(encoding="utf-8") as stream:
            of_scores = "median_mae" in stream.readline()
    except (OSError, UnicodeDecodeError):
        of_scores = False
    return read_columns(path, _SCORE_TYPES if of_scores else _TYPES, optional={TRAINED_AT: "str"})


def per_cell(trainings: pd.DataFrame, cell: Sequence[str] = CELL) -> pd.DataFrame:
    """Count the trainings of every cell, and those at chance, in the columns of ``cell`` and MARKS.

    trainings: as returned by :func:`judge_runs`. cell: the keys of a cell, CELL or more columns.
    """
    if "wa_at_majority" not in trainings:  # scores have no WA
        trainings = trainings.assign(wa_at_majority=0)
    cells = trainings.groupby(list(cell), dropna=False, sort=False)
    counts = cells[["at_chance", "wa_at_majority"]].sum().assign(trainings=cells.size())
    return counts.reset_index()[[*cell, *MARKS]].astype(dict.fromkeys(MARKS, "Int64"))


def with_marks(cells: pd.DataFrame, trainings: pd.DataFrame | None, cell: Sequence[str] = CELL) -> pd.DataFrame:
    """Add the columns MARKS to cells of scores, missing where no training was judged.

    cells: columns of ``cell``. trainings: as returned by :func:`judge_runs`, or None. cell: as for :func:`per_cell`. A
    mark applies to the whole cell, so the rows of all its metrics have the same marks.
    """
    if trainings is None:
        return cells.assign(**{name: pd.array([pd.NA] * len(cells), dtype="Int64") for name in MARKS})
    return merged_by_level(cells, per_cell(trainings, cell), list(cell), "left")


def with_chance(scores: pd.DataFrame, trainings: pd.DataFrame | None) -> pd.DataFrame:
    """Add the column ``chance`` to rows of scores: the level from :func:`chance_levels`, missing if unknown.

    scores: columns dataset and metric. trainings: as returned by :func:`judge_runs`, or None.
    """
    known = {} if trainings is None else chance_levels(trainings)
    places = zip(scores["dataset"], scores["metric"], strict=True)
    return scores.assign(chance=pd.array([known.get(place) for place in places], dtype="Float64").astype("float64"))


def chance_levels(trainings: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Return (dataset, metric) -> the score of a constant prediction: UA 1 / classes, WA the share of the largest
    class, MAE that of the median of the training scores.

    trainings: as returned by :func:`judge_runs`. The share is that of a fold's test utterances, a mean over trainings.
    """
    levels = {}
    for dataset, tested in trainings.groupby("dataset", sort=False):
        # A single incomplete condition may test only some of the utterances.
        of_all_utterances = (AVERAGE, ALL_NOISY, all_clean(modalities_of(tested["condition"].unique())))
        rows = tested[tested["condition"].isin(of_all_utterances)]
        if "median_mae" in rows:
            levels[str(dataset), "MAE"] = float(rows["median_mae"].mean())
            continue
        levels[str(dataset), "WA"] = float(rows["majority"].mean())
        levels[str(dataset), "UA"] = float((1 / rows["classes"]).mean())
    return levels
