"""The feature store ``features/{dataset}.h5`` (DESIGN section 5): written once from a corpus, then only read.

Holds features, labels, folds and their statistics; knows nothing of noise or of how the corpus was laid out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np

from nmer.corpora.corpus import Corpus, CorpusSettings
from nmer.corpora.moments import Moments
from nmer.corpora.repair import add_counts, repair
from nmer.errors import DataError
from nmer.files import atomic_path
from nmer.names import MODALITIES, SPLITS

SCOPES = ("stored", "valid_frames")
"""Over what the variance is taken: all stored frames, or those that are not all zero (SPEC 2.6)."""


def write_store(
    corpus: Corpus, settings: CorpusSettings, path: str | Path, sources: Mapping[str, str] | None = None
) -> None:
    """Write a corpus as a feature store, atomically, one utterance in memory at a time.

    sources: name of each source file -> SHA-256. Raises DataError if a source file turns out to be damaged.
    """
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        _write_utterances(file, corpus)
        for number, fold in corpus.folds.items():
            for split in SPLITS:
                file[f"fold/{number}/{split}"] = np.asarray(fold[split], np.int64)
        repairs = {m: _write_modality(file, corpus, m, m in settings.standardize) for m in MODALITIES}
        dims = {m: corpus.dims[m] for m in MODALITIES}
        attributes = {"classes": corpus.classes, "dims": dims, "repairs": repairs, "sources": dict(sources or {})}
        for name, value in attributes.items():
            file.attrs[name] = json.dumps(value, ensure_ascii=False)


def create_values(file: h5py.File, modality: str, frames: int, dim: int, name: str = "values") -> h5py.Dataset:
    """Create ``{modality}/{name}``, (frames, dim) float32, contiguous, to be filled piece by piece."""
    return file.create_dataset(f"{modality}/{name}", shape=(frames, dim), dtype=np.float32)


class FeatureStore:
    """Read access to a feature store; a context manager.

    Raises DataError, naming the file, if it is missing, truncated or not a feature store.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise DataError(f"{path}: cannot be read as HDF5 ({error}). Delete it and run again.") from None
        try:
            self._check()
        except Exception:
            self._file.close()
            raise

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    @cached_property
    def attributes(self) -> dict[str, object]:
        """classes, dims, repairs (modality -> kind -> count) and sources (file -> SHA-256)."""
        return {name: json.loads(value) for name, value in self._file.attrs.items()}

    @property
    def classes(self) -> list[str]:
        """Class names in label order."""
        return self.attributes["classes"]

    @property
    def dims(self) -> dict[str, int]:
        """Width of each modality."""
        return self.attributes["dims"]

    @property
    def repairs(self) -> dict[str, dict[str, int]]:
        """Non-finite values that were replaced by 0: modality -> kind -> count."""
        return self.attributes["repairs"]

    @property
    def sources(self) -> dict[str, str]:
        """SHA-256 of every file of the corpus."""
        return self.attributes["sources"]

    @cached_property
    def ids(self) -> list[str]:
        """Utterance ids, n of them."""
        return self._file["utterance/id"].asstr()[()].tolist()

    @cached_property
    def speakers(self) -> list[str]:
        """Speaker (or video) of each utterance."""
        return self._file["utterance/speaker"].asstr()[()].tolist()

    @cached_property
    def labels(self) -> np.ndarray:
        """(n,) int64."""
        return self._file["utterance/label"][()]

    @cached_property
    def folds(self) -> list[int]:
        """Fold numbers, from 1."""
        return sorted(int(number) for number in self._file["fold"])

    def fold(self, number: int) -> dict[str, np.ndarray]:
        """Split -> (k,) int64 indices of its utterances."""
        if number not in self.folds:
            raise DataError(f"{self.path}: has no fold {number}; it has {self.folds[0]} to {self.folds[-1]}.")
        return {split: self._file[f"fold/{number}/{split}"][()] for split in SPLITS}

    def offset(self, modality: str) -> np.ndarray:
        """(n + 1,) int64: utterance i is frames offset[i] to offset[i + 1] of ``values``."""
        return self._offsets[modality]

    def values(self, modality: str) -> h5py.Dataset:
        """All frames of a modality, (total frames, dim) float32, as an open HDF5 dataset: slice it to read."""
        return self._file[modality]["values"]

    def utterance(self, modality: str, index: int) -> np.ndarray:
        """(frames, dim) float32 of one utterance."""
        start, stop = self._offsets[modality][index : index + 2]
        return self.values(modality)[start:stop]

    def variance(self, modality: str, scope: str = "stored") -> float:
        """One scalar over all elements, in the corruption space (SPEC 2.6). scope: ``stored`` or ``valid_frames``."""
        return float(self._file[modality].attrs[f"variance_{scope}"])

    def normalisation(self, fold: int, modality: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Mean and standard deviation, each (dim,) float64, of a fold's training split; None if not standardised."""
        return self._pair(f"fold/{fold}/norm/{modality}")

    def corruption_space(self, modality: str) -> tuple[np.ndarray, np.ndarray] | None:
        """mu_D and sigma_D of SPEC 2.6, each (dim,) float64, over the whole dataset; None stands for 0 and 1."""
        return self._pair(f"{modality}/corruption")

    @cached_property
    def _offsets(self) -> dict[str, np.ndarray]:
        return {m: self._file[m]["offset"][()] for m in MODALITIES}

    def _pair(self, group: str) -> tuple[np.ndarray, np.ndarray] | None:
        if group not in self._file:
            return None
        return self._file[group]["mean"][()], self._file[group]["std"][()]

    def _check(self) -> None:
        try:
            whole = {"classes", "dims", "repairs", "sources"} <= set(self.attributes) and bool(self.folds)
            for m in MODALITIES:
                shape = (int(self._offsets[m][-1]), self.dims[m])
                whole &= self.values(m).shape == shape and len(self._offsets[m]) == len(self.labels) + 1
        except (KeyError, OSError, ValueError, TypeError, AttributeError):
            whole = False
        if not whole:
            raise DataError(f"{self.path}: not a feature store, or an incomplete one. Delete it and run again.")


def _write_utterances(file: h5py.File, corpus: Corpus) -> None:
    file["utterance/label"] = np.asarray(corpus.labels, np.int64)
    for name, values in (("id", corpus.ids), ("speaker", corpus.speakers)):
        file.create_dataset(f"utterance/{name}", data=values, dtype=h5py.string_dtype())


def _write_modality(file: h5py.File, corpus: Corpus, modality: str, standardised: bool) -> dict[str, int]:
    """Write frames and statistics of one modality; returns what was repaired."""
    offset = np.concatenate([[0], np.cumsum(corpus.lengths[modality])]).astype(np.int64)
    values = create_values(file, modality, int(offset[-1]), corpus.dims[modality])
    file[f"{modality}/offset"] = offset
    training = _training_folds(corpus) if standardised else {}
    repairs = corpus.repairs.get(modality, {})
    everything = valid = None
    of_fold: dict[int, Moments] = {}
    for index, (frames, found) in enumerate(_repaired_utterances(corpus, modality)):
        values[offset[index] : offset[index + 1]] = frames
        repairs = add_counts(repairs, found)
        shift = frames[0].astype(np.float64) if everything is None else everything.shift
        moments = Moments.of(frames, shift)
        everything = _sum(everything, moments)
        valid = _sum(valid, Moments.of(frames[frames.any(axis=1)], shift))
        for number in training.get(index, ()):
            of_fold[number] = _sum(of_fold.get(number), moments)
    _write_statistics(file[modality], everything, valid, standardised)
    if standardised:
        for number in corpus.folds:
            given = corpus.normalisation.get(number, {}).get(modality)
            pair = given or (of_fold[number].mean, of_fold[number].spread)
            _write_pair(file, f"fold/{number}/norm/{modality}", pair)
    return add_counts(repairs, {})


def _repaired_utterances(corpus: Corpus, modality: str) -> Iterator[tuple[np.ndarray, dict[str, int]]]:
    for index, identifier in enumerate(corpus.ids):
        frames, found = repair(corpus.features(modality, index))
        expected = (int(corpus.lengths[modality][index]), corpus.dims[modality])
        if frames.shape != expected:
            place = corpus.files.get(modality, "the corpus")
            raise DataError(
                f"{place}: utterance '{identifier}' has shape {frames.shape}; its reader declared {expected}."
            )
        yield frames, found


def _training_folds(corpus: Corpus) -> dict[int, list[int]]:
    """Utterance index -> the folds that train on it."""
    folds: dict[int, list[int]] = {}
    for number, fold in corpus.folds.items():
        for index in fold["train"].tolist():
            folds.setdefault(index, []).append(number)
    return folds


def _sum(total: Moments | None, part: Moments) -> Moments:
    return part if total is None else total + part


def _write_statistics(group: h5py.Group, everything: Moments, valid: Moments, standardised: bool) -> None:
    centre, scale = (everything.mean, everything.spread) if standardised else (0.0, 1.0)
    if standardised:
        _write_pair(group, "corruption", (centre, scale))
    for scope, moments in zip(SCOPES, (everything, valid), strict=True):
        group.attrs[f"variance_{scope}"] = moments.pooled_variance(centre, scale)


def _write_pair(group: h5py.Group, name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    for statistic, values in zip(("mean", "std"), pair, strict=True):
        group[f"{name}/{statistic}"] = np.asarray(values, np.float64)
