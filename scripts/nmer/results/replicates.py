"""Hierarchical bootstrap: what every score of an experiment would have been with other folds, trainings, utterances.

One replicate draws, with replacement, as many folds as there are; in each of these as many trainings (repeats) and as
many test utterances as it has; and scores that as the tables do. Folds and utterances are drawn once for all runs of a
dataset, so that the difference of two systems is one on the same utterances (paired); the trainings of each run are
drawn by themselves, since nothing pairs two trainings. Where there is one fold, what it draws is the same every time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from nmer.content import unreadable
from nmer.corpora.streaming import create_file
from nmer.errors import DataError
from nmer.metrics import METRICS, of_target
from nmer.names import AVERAGE, SIX_CONDITIONS
from nmer.results.predictions import RUN, FoldPredictions, Run
from nmer.seeds import generator

REPLICATES = 1000
CELL = (*RUN, "condition", "metric")
COLUMNS = (*CELL, "value")


def resample(runs: Iterable[Run], count: int = REPLICATES) -> tuple[pd.DataFrame, np.ndarray]:
    """Every score of these runs, as it is and resampled.

    Returns the cells, a row for each run, condition (the average of the six among them) and metric with its ``value``
    as in the tables, columns COLUMNS; and the replicates, (cells, count) float32. Raises DataError if runs of a dataset
    were not tested on the same utterances.
    """
    rows, replicates = [], []
    for dataset, part in groupby(sorted(runs, key=lambda run: run.key[0]), key=lambda run: run.key[0]):
        for run, scores in _resample_dataset(dataset, list(part), count):
            conditions = list(run.conditions)
            if set(SIX_CONDITIONS) <= set(conditions):
                six = [conditions.index(name) for name in SIX_CONDITIONS]
                scores = np.concatenate([scores, scores[:, six].mean(axis=1, keepdims=True)], axis=1)
                conditions.append(AVERAGE)
            for metric, of_metric in zip(of_target(), scores, strict=True):
                rows += [
                    (*run.key, name, metric, float(each[0])) for name, each in zip(conditions, of_metric, strict=True)
                ]
                replicates += [each[1:] for each in of_metric]
    cells = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"snr_db": "Int64"})
    return cells, np.array(replicates, np.float32).reshape(len(cells), count)


def write_replicates(path: str | Path, cells: pd.DataFrame, replicates: np.ndarray) -> None:
    """Write what :func:`resample` returns as HDF5: ``cell/{column}`` and ``replicates`` (cells, count)."""
    with create_file(path) as file:
        for column in COLUMNS:
            values = cells[column]
            if column == "value":
                file[f"cell/{column}"] = values.to_numpy()
            else:
                file[f"cell/{column}"] = ["" if pd.isna(value) else str(value) for value in values]
        file["replicates"] = replicates


def read_replicates(path: str | Path) -> tuple[pd.DataFrame, np.ndarray]:
    """What :func:`write_replicates` wrote. Raises DataError if the file is missing or damaged."""
    try:
        with h5py.File(path) as file:
            texts = {name: file[f"cell/{name}"].asstr()[()] for name in CELL}
            cells = pd.DataFrame(texts | {"value": file["cell/value"][()]})
            replicates = file["replicates"][()]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise unreadable(path, error, "cannot be read as replicates ({reason}). Delete it and run again.") from None
    cells["snr_db"] = pd.to_numeric(cells["snr_db"].where(cells["snr_db"] != "")).astype("Int64")
    return cells, replicates


def _resample_dataset(dataset: str, runs: list[Run], count: int) -> Iterator[tuple[Run, np.ndarray]]:
    """Each run with its scores (metrics, conditions, 1 + count), the real one first."""
    folds = sorted(runs[0].folds)
    drawn = generator("bootstrap folds", dataset).integers(len(folds), size=(count, len(folds)))
    totals = [np.zeros((len(of_target()), len(run.conditions), 1 + count)) for run in runs]
    for position, fold in enumerate(folds):
        # Which replicates have this fold, each as often as they drew it. The first column is the fold as it is.
        owners = np.concatenate([[0], 1 + np.nonzero(drawn == position)[0]])
        reference = runs[0].folds[fold]
        weights = _weights(generator("bootstrap utterances", dataset, fold), len(reference.labels), len(owners) - 1)
        for run, total in zip(runs, totals, strict=True):
            here = run.folds.get(fold)
            if here is None or not np.array_equal(here.utterances, reference.utterances):
                raise DataError(
                    f"{_name(run)}, fold {fold}: not tested on the utterances of {_name(runs[0])}. Evaluate both again."
                )
            scores = _weighted_scores(here, len(run.classes), weights)
            trainings = _weights(_training_generator(run, fold), len(here.predicted), len(owners) - 1)
            of_fold = np.einsum("mrcb,br->mcb", scores, trainings) / len(here.predicted)
            for metric_total, metric_scores in zip(total, of_fold, strict=True):
                for condition_total, each in zip(metric_total, metric_scores, strict=True):
                    condition_total += np.bincount(owners, each, minlength=1 + count)
    return zip(runs, (total / len(folds) for total in totals), strict=True)


def _weights(random: np.random.Generator, size: int, count: int) -> np.ndarray:
    """How often each of ``size`` is drawn, (1 + count, size) float32; the first row is the sample itself."""
    drawn = random.multinomial(size, np.full(size, 1 / size), size=count)
    return np.concatenate([np.ones((1, size)), drawn]).astype(np.float32)


def _training_generator(run: Run, fold: int) -> np.random.Generator:
    # A system trained on clean data has the same trainings at every level.
    dataset, system, regime, noise, snr_db = run.key
    level = () if regime == "clean" else (noise, "" if snr_db is None else snr_db)
    return generator("bootstrap trainings", dataset, system, regime, *level, fold)


def _weighted_scores(fold: FoldPredictions, classes: int, weights: np.ndarray) -> np.ndarray:
    """(metrics, repeats, conditions, len(weights)): every metric with utterances counted as often as ``weights`` say.

    A class of which a replicate drew no utterance has no recall there and is left out of its UA and F1.
    """
    counts = np.zeros((*fold.predicted.shape[:2], len(weights), classes, classes))
    for label, predicted in np.ndindex(classes, classes):
        here = fold.labels == label
        taken = (fold.predicted[:, :, here] == predicted).astype(np.float32)
        counts[..., label, predicted] = np.tensordot(taken, weights[:, here], axes=(2, 1))
    return np.stack([np.nan_to_num(METRICS[name].value(counts)) for name in of_target()])


def _name(run: Run) -> str:
    return " ".join(str(part) for part in run.key if part not in (None, ""))
