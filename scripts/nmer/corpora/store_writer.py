"""Writing of a feature store from a corpus: values, repairs and statistics of every fold."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np

from nmer.corpora.corpus import Corpus, CorpusSettings
from nmer.corpora.moments import GroupedMoments
from nmer.corpora.outliers import Outliers
from nmer.corpora.repair import add_counts, cast, repair_in_place
from nmer.corpora.store import SCOPES
from nmer.corpora.streaming import create_values, frames_per_block, utterance_blocks
from nmer.errors import DataError
from nmer.hdf5_output import create_file
from nmer.names import SCORE, SPLITS
from nmer.progress import progress


def write_store(
    corpus: Corpus, settings: CorpusSettings, path: str | Path, sources: Mapping[str, str] | None = None
) -> list[str]:
    """Write a corpus as a feature store, atomically and with one block of utterances in memory at a time.

    sources: name of each source file -> SHA-256. Returns warnings about the values. Raises DataError if a source file
    is damaged, or all frames of a modality are equal.
    """
    standardised = [m for m in settings.standardize if m not in corpus.normalised]
    total = sum(4 * corpus.dims[m] * int(corpus.lengths[m].sum()) for m in corpus.modalities)
    with create_file(path, total) as file, progress(f"features of {settings.dataset}", total) as advance:
        _write_utterances(file, corpus, settings.target)
        if not corpus.folds:
            file.create_group("fold")
        for number, fold in corpus.folds.items():
            for split in SPLITS:
                file[f"fold/{number}/{split}"] = np.asarray(fold[split], np.int64)
        written = {m: _write_modality(file, corpus, m, m in standardised, advance) for m in corpus.modalities}
        repairs = {m: repaired for m, (repaired, _warnings) in written.items()}
        dims = {m: corpus.dims[m] for m in corpus.modalities}
        attributes = {"classes": corpus.classes, "dims": dims, "repairs": repairs, "sources": dict(sources or {})}
        if settings.target == SCORE:
            attributes["target"] = SCORE
        for name, value in attributes.items():
            file.attrs[name] = json.dumps(value, ensure_ascii=False)
    return [warning for _repaired, warnings in written.values() for warning in warnings]


def _write_utterances(file: h5py.File, corpus: Corpus, target: str) -> None:
    file["utterance/label"] = np.asarray(corpus.labels, np.float64 if target == SCORE else np.int64)
    for name, values in (("id", corpus.ids), ("speaker", corpus.speakers)):
        file.create_dataset(f"utterance/{name}", data=values, dtype=h5py.string_dtype())


def _training_groups(corpus: Corpus) -> tuple[np.ndarray, dict[int, list[int]]]:
    """Group utterances by the folds that train on them. Returns (n,) group of each, and fold -> training groups."""
    if not corpus.folds:
        return np.zeros(len(corpus.ids), int), {}
    trained_on = np.zeros((len(corpus.folds), len(corpus.ids)), bool)
    for row, fold in zip(trained_on, corpus.folds.values(), strict=True):
        row[fold["train"]] = True
    patterns, group_of = np.unique(trained_on, axis=1, return_inverse=True)
    return group_of, {number: np.flatnonzero(row).tolist() for number, row in zip(corpus.folds, patterns, strict=True)}


def _write_modality(
    file: h5py.File, corpus: Corpus, modality: str, standardised: bool, advance: Callable[[int], object]
) -> tuple[dict[str, int], list[str]]:
    """Write frames and statistics of one modality. Returns counts of repairs, and warnings about the values."""
    offset = np.concatenate([[0], np.cumsum(corpus.lengths[modality])]).astype(np.int64)
    values = create_values(file, modality, int(offset[-1]), corpus.dims[modality])
    values.parent["offset"] = offset
    group_of, groups_of_fold = _training_groups(corpus) if standardised else (np.zeros(len(corpus.ids), int), {})
    moments, outliers = GroupedMoments(group_of), Outliers()
    repairs = corpus.repairs.get(modality, {})
    for first, last in utterance_blocks(offset, frames_per_block(corpus.dims[modality])):
        frames, bounds = _read_block(corpus, modality, offset, first, last)
        repairs = add_counts(repairs, repair_in_place(frames))
        values[offset[first] : offset[last]] = frames
        moments.add(first, frames, bounds)
        outliers.add(frames)
        advance(frames.nbytes)
    _write_statistics(corpus, modality, values.parent, moments, standardised)
    for number, groups in groups_of_fold.items():
        released = corpus.normalisation.get(number, {}).get(modality)
        training = moments.of(groups)
        _write_pair(file, f"fold/{number}/norm/{modality}", released or (training.mean, training.spread))
    return add_counts(repairs, {}), outliers.warnings(modality, moments.of(), standardised)


def _read_block(
    corpus: Corpus, modality: str, offset: np.ndarray, first: int, last: int
) -> tuple[np.ndarray, np.ndarray]:
    """Read utterances ``first`` to ``last`` (excluded).

    Returns frames (rows, dim) float32, not yet repaired, and the bounds of the utterances in them.
    """
    bounds = offset[first : last + 1] - offset[first]
    frames = np.empty((bounds[-1], corpus.dims[modality]), np.float32)
    for index, (start, stop) in enumerate(pairwise(bounds.tolist()), start=first):
        utterance, target = np.asarray(corpus.features(modality, index)), frames[start:stop]
        if utterance.shape != target.shape:
            raise DataError(
                f"{corpus.files.get(modality, 'the corpus')}: utterance '{corpus.ids[index]}' has shape "
                f"{utterance.shape}; its reader declared {target.shape}."
            )
        cast(utterance, target)
    return frames, bounds


def _write_statistics(
    corpus: Corpus, modality: str, group: h5py.Group, moments: GroupedMoments, standardised: bool
) -> None:
    stored, valid = moments.of(), moments.of(zeros=False)
    constant = int((stored.variance == 0).sum())
    if constant == corpus.dims[modality]:
        raise DataError(
            f"{corpus.files.get(modality, 'the corpus')}: modality '{modality}' is the same in all frames (once NaN "
            "and infinities are 0). It carries no information, and no SNR can be defined. Correct the features."
        )
    space = (stored.mean, stored.spread) if standardised else None
    if space is not None:
        _write_pair(group, "corruption", space)
    centre, scale = space or (0.0, 1.0)
    for scope, part in zip(SCOPES, (stored, valid), strict=True):
        group.attrs[f"variance_{scope}"] = part.pooled_variance(centre, scale)
    group.attrs["constant_dimensions"] = constant
    group.attrs["zero_utterances"] = moments.zero_utterances


def _write_pair(group: h5py.Group, name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    for statistic, values in zip(("mean", "std"), pair, strict=True):
        group[f"{name}/{statistic}"] = np.asarray(values, np.float64)
