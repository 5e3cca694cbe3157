"""Contributions of test units to scores, the input of all intervals and tests.

A metric is a smooth function of counts, so the derivative of a score by the weight of one utterance has a closed form,
the slope of the metric (influence function, or infinitesimal jackknife; Efron and Tibshirani, An Introduction to the
Bootstrap, 1993, chapter 22). Contributions are summed over the units that a new test would draw: folds, speakers or
videos, utterances. Nothing is random here. ``nmer.results.contrasts`` combines the contributions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from nmer.content import unreadable
from nmer.corpora.store import FeatureStore
from nmer.errors import DataError
from nmer.hdf5_output import create_file
from nmer.metrics import CLASS_METRICS, SCORE_METRICS, of_target
from nmer.names import AVERAGE
from nmer.results.predictions import RUN, FoldPredictions, Run
from nmer.score_metrics import count_cells, influences_of_cells
from nmer.snr_column import with_snr

CELL = (*RUN, "condition", "metric")
COLUMNS = (*CELL, "value")
FEWEST_CLUSTERS = 8
"""With fewer speakers or videos, utterances are the units, because a variance over so few is a poor estimate."""


@dataclass(frozen=True)
class Design:
    """The division of a dataset's test material into units.

    folds, utterances: numbers tested. clusters: number of speakers or videos among them, 0 if unknown.
    fold_of, cluster_of: (units,) fold and cluster of each unit; a unit is the part of a cluster in one fold. With
    several folds that share no cluster, a unit is a fold.
    """

    folds: int
    utterances: int
    clusters: int
    fold_of: np.ndarray
    cluster_of: np.ndarray

    @property
    def has_clusters(self) -> bool:
        """Whether enough speakers or videos are known to be the units."""
        return self.clusters >= FEWEST_CLUSTERS

    @property
    def is_crossed(self) -> bool:
        """Whether a speaker or video is tested in several folds."""
        return self.folds > 1 and len(self.fold_of) > self.folds


@dataclass(frozen=True)
class DatasetContributions:
    """Scores of a dataset. scores: (cells, repeats), means over folds. contributions: (cells, repeats, units) float32,
    which sum to zero over the units. Both are NaN where a cell has fewer repeats than another one."""

    design: Design
    scores: np.ndarray
    contributions: np.ndarray


@dataclass(frozen=True)
class Contributions:
    """All scores of an experiment.

    cells: a row per run, condition (including the average of the six) and metric: COLUMNS, ``value`` as in the tables,
    ``repeats``, ``varies`` (whether training is random) and ``position`` in its dataset's arrays. datasets: name -> its
    contributions.
    """

    cells: pd.DataFrame
    datasets: dict[str, DatasetContributions]


def measure(
    runs: Iterable[Run],
    clusters: Mapping[str, Mapping[str, str]] | None = None,
    deterministic: Collection[str] = (),
) -> Contributions:
    """Compute the contributions to every score of these runs.

    clusters: dataset -> utterance -> its speaker or video; see :func:`read_clusters`. deterministic: systems whose
    training is not random. Raises DataError if runs of a dataset were not tested on the same utterances.
    """
    cells: list[tuple[object, ...]] = []
    datasets = {}
    for dataset, part in groupby(sorted(runs, key=lambda run: run.key[0]), key=lambda run: run.key[0]):
        own = list(part)
        design, units = _design(own, (clusters or {}).get(dataset, {}))
        most = max(len(fold.predicted) for run in own for fold in run.folds.values())
        scores: list[np.ndarray] = []
        contributions: list[np.ndarray] = []
        for run in own:
            names, values, shares = _measure_run(run, units, len(design.fold_of))
            repeats = values.shape[-1]
            filler = ((0, 0), (0, 0), (0, most - repeats))
            position = sum(len(each) for each in scores)
            scores.append(np.pad(values, filler, constant_values=np.nan).reshape(-1, most))
            padded = np.pad(shares, (*filler, (0, 0)), constant_values=np.nan)
            contributions.append(padded.reshape(-1, most, padded.shape[-1]).astype(np.float32))
            places = [(metric, name) for metric in of_target(run.target) for name in names]
            for offset, ((metric, name), value) in enumerate(zip(places, values.mean(axis=-1).ravel(), strict=True)):
                varies = run.key[1] not in deterministic
                cells.append((*run.key, name, metric, float(value), repeats, varies, position + offset))
        datasets[dataset] = DatasetContributions(design, np.concatenate(scores), np.concatenate(contributions))
    columns = [*COLUMNS, "repeats", "varies", "position"]
    return Contributions(with_snr(pd.DataFrame(cells, columns=columns)), datasets)


def read_clusters(stores: Iterable[str | Path]) -> dict[str, dict[str, str]]:
    """Read dataset -> utterance -> its speaker or video from the feature stores, each named after its dataset.

    A dataset without speakers is left out; its store has the utterance's id instead. Raises DataError if a store is
    missing or damaged.
    """
    clusters = {}
    for path in stores:
        with FeatureStore(path, needs_folds=False) as store:
            if store.speakers != store.ids:
                clusters[Path(path).stem] = dict(zip(store.ids, store.speakers, strict=True))
    return clusters


def write_contributions(path: str | Path, measured: Contributions) -> None:
    """Write contributions as HDF5; docs/statistics.md describes the file."""
    with create_file(path, sum(each.contributions.nbytes for each in measured.datasets.values())) as file:
        for column in measured.cells:
            values = measured.cells[column]
            is_text = column in CELL
            texts = ["" if pd.isna(value) else str(value) for value in values] if is_text else None
            file[f"cell/{column}"] = texts if is_text else values.to_numpy()
        for name, each in measured.datasets.items():
            group = file.create_group(f"dataset/{name}")
            for key in ("folds", "utterances", "clusters"):
                group.attrs[key] = getattr(each.design, key)
            group["fold_of"], group["cluster_of"] = each.design.fold_of, each.design.cluster_of
            group["scores"], group["contributions"] = each.scores, each.contributions


def read_contributions(path: str | Path) -> Contributions:
    """Read contributions from HDF5. Raises DataError if the file is missing or damaged."""
    try:
        with h5py.File(path) as file:
            texts = {name: file[f"cell/{name}"].asstr()[()] for name in CELL}
            numbers = {name: file[f"cell/{name}"][()] for name in ("value", "repeats", "varies", "position")}
            datasets = {name: _read_dataset(group) for name, group in file.get("dataset", {}).items()}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise unreadable(path, error, "cannot be read as contributions ({reason}). Delete it and run again.") from None
    cells = pd.DataFrame(texts | numbers)
    return Contributions(with_snr(cells), datasets)


def _read_dataset(group: h5py.Group) -> DatasetContributions:
    sizes = {key: int(group.attrs[key]) for key in ("folds", "utterances", "clusters")}
    design = Design(**sizes, fold_of=group["fold_of"][()], cluster_of=group["cluster_of"][()])
    return DatasetContributions(design, group["scores"][()], group["contributions"][()])


def _design(runs: list[Run], clusters: Mapping[str, str]) -> tuple[Design, dict[int, np.ndarray]]:
    """Return the division of a dataset's test material, and fold -> the unit of each of its utterances."""
    folds = runs[0].folds
    for run in runs:
        for fold in sorted(folds.keys() | run.folds.keys()):
            here, reference = run.folds.get(fold), folds.get(fold)
            if here is None or reference is None or not np.array_equal(here.utterances, reference.utterances):
                raise DataError(
                    f"{_name(run)}, fold {fold}: not tested on the utterances of {_name(runs[0])}. Evaluate both again."
                )
    known = {name: clusters.get(str(name)) for fold in folds.values() for name in fold.utterances.tolist()}
    names = sorted({name for name in known.values() if name is not None}) if None not in known.values() else []
    number = {name: position for position, name in enumerate(names)}
    if len(names) >= FEWEST_CLUSTERS:
        cluster_in = {fold: np.array([number[known[name]] for name in here.utterances]) for fold, here in folds.items()}  # type: ignore[index]
    else:
        ends = np.cumsum([0, *(len(folds[fold].utterances) for fold in sorted(folds))])
        cluster_in = {fold: np.arange(*ends[place : place + 2]) for place, fold in enumerate(sorted(folds))}
    pairs = [(place, cluster) for place, fold in enumerate(sorted(folds)) for cluster in np.unique(cluster_in[fold])]
    if len(folds) > 1 and len({cluster for _place, cluster in pairs}) == len(pairs):
        # No cluster is in two folds, so a fold is the unit.
        units = {fold: np.full(len(cluster_in[fold]), place) for place, fold in enumerate(sorted(folds))}
        pairs = [(place, place) for place in range(len(folds))]
    else:
        position = {pair: row for row, pair in enumerate(pairs)}
        units = {
            fold: np.array([position[place, cluster] for cluster in cluster_in[fold]])
            for place, fold in enumerate(sorted(folds))
        }
    fold_of, cluster_of = np.array(pairs, np.int64).reshape(-1, 2).T
    return Design(len(folds), len(known), len(names), fold_of, cluster_of), units


def _measure_run(run: Run, units: Mapping[int, np.ndarray], count: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return conditions, scores (metrics, conditions, repeats) and contributions (…, repeats, units)."""
    parts = {fold: _scores(here, len(run.classes)) for fold, here in run.folds.items()}
    means = np.mean([values for values, _influence, _share in parts.values()], axis=0)
    contributions = np.zeros((*means.shape, count))
    for fold, (values, influence, share) in parts.items():
        # An utterance contributes to the score of its fold, and its fold to the mean over folds.
        of_items = (influence + (values - means)[..., None] * share) / len(parts)
        order = np.argsort(units[fold], kind="stable")
        here, starts = np.unique(units[fold][order], return_index=True)
        contributions[..., here] += np.add.reduceat(of_items[..., order], starts, axis=-1)
    names = list(run.conditions)
    if places := run.averaged():
        means = np.concatenate([means, means[:, places].mean(axis=1, keepdims=True)], axis=1)
        averaged = contributions[:, places].mean(axis=1, keepdims=True)
        contributions = np.concatenate([contributions, averaged], axis=1)
        names.append(AVERAGE)
    return names, means, contributions


def _scores(fold: FoldPredictions, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the scores (metrics, conditions, repeats) of a fold, the influences of its utterances (metrics,
    conditions, repeats, n), and their shares (conditions, repeats, n) of the tested utterances. Without utterances a
    metric of classes is 0; an undefined metric of scores is NaN. classes: their number, 0 for scores."""
    predicted, tested = fold.predicted.swapaxes(0, 1), fold.tested.swapaxes(0, 1)
    share = tested / np.maximum(tested.sum(axis=-1, keepdims=True), 1)
    if not classes:
        measured = [metric.measure(fold.labels, predicted, tested) for metric in SCORE_METRICS.values()]
        return np.stack([value for value, _ in measured]), np.stack([influence for _, influence in measured]), share
    cells = np.where(tested, fold.labels * classes + predicted, 0)
    counts = count_cells(cells, tested, classes)
    metrics = CLASS_METRICS.values()
    scores = [np.nan_to_num(metric.value(counts)) for metric in metrics]
    influences = [influences_of_cells(metric.slope, counts, cells, tested) for metric in metrics]
    return np.stack(scores), np.stack(influences), share


def _name(run: Run) -> str:
    return " ".join(str(part) for part in run.key if part not in (None, ""))
