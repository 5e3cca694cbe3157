"""Read access to the feature store ``features/{dataset}.h5``.

The store contains features, labels, folds and their statistics, independent of noise and of the corpus layout.
:mod:`nmer.corpora.store_writer` writes it.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import NotRequired, TypedDict, cast

import h5py
import numpy as np
from numpy.typing import NDArray

from nmer.content import unreadable
from nmer.errors import DataError
from nmer.names import CLASSES, SPLITS, modality_set

SCOPES = ("stored", "valid_frames")
"""Frames that the variance is computed over: all stored frames, or those that are not all zero (SPEC 2.6)."""


class Attributes(TypedDict):
    """Attributes of a store. repairs: modality -> kind -> count. sources: file -> SHA-256. target: none for classes."""

    target: NotRequired[str]
    classes: list[str]
    dims: dict[str, int]
    repairs: dict[str, dict[str, int]]
    sources: dict[str, str]


class FeatureStore:
    """An open feature store; a context manager.

    Raises DataError that names the file if it is missing, truncated or not a feature store. needs_folds: whether to
    refuse a store without folds.
    """

    def __init__(self, path: str | Path, needs_folds: bool = True) -> None:
        self.path = Path(path)
        self._needs_folds = needs_folds
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise unreadable(path, error, "cannot be read as HDF5 ({reason}). Delete it and run again.") from None
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
    def attributes(self) -> Attributes:
        """Return the attributes of the file."""
        return cast(Attributes, {name: json.loads(value) for name, value in self._file.attrs.items()})

    @property
    def target(self) -> str:
        """Return the type of the labels: ``classes`` or ``score``."""
        return self.attributes.get("target", CLASSES)

    @property
    def classes(self) -> list[str]:
        """Return class names in label order; empty for scores."""
        return self.attributes["classes"]

    @property
    def dims(self) -> dict[str, int]:
        """Return the width of each modality."""
        return self.attributes["dims"]

    @property
    def modalities(self) -> tuple[str, ...]:
        """Return the modalities of the corpus, in the order a, v, l."""
        return modality_set(self.dims)

    @property
    def repairs(self) -> dict[str, dict[str, int]]:
        """Return counts of non-finite values replaced by 0: modality -> kind -> count."""
        return self.attributes["repairs"]

    @property
    def sources(self) -> dict[str, str]:
        """Return the SHA-256 of every file of the corpus."""
        return self.attributes["sources"]

    @cached_property
    def ids(self) -> list[str]:
        """Return the n utterance ids."""
        ids: list[str] = self._file["utterance/id"].asstr()[()].tolist()
        return ids

    @cached_property
    def speakers(self) -> list[str]:
        """Return the speaker (or video) of each utterance."""
        speakers: list[str] = self._file["utterance/speaker"].asstr()[()].tolist()
        return speakers

    @cached_property
    def labels(self) -> NDArray[np.int64] | NDArray[np.float64]:
        """Return class numbers or scores, (n,)."""
        labels: NDArray[np.int64] | NDArray[np.float64] = self._file["utterance/label"][()]
        return labels

    @cached_property
    def folds(self) -> list[int]:
        """Return the fold numbers, from 1."""
        return sorted(int(number) for number in self._file["fold"])

    def fold(self, number: int) -> dict[str, np.ndarray]:
        """Return split -> indices of its utterances, (k,) int64. Raises DataError for an unknown fold."""
        if number not in self.folds:
            raise DataError(f"{self.path}: has no fold {number}; it has {self.folds[0]} to {self.folds[-1]}.")
        return {split: self._file[f"fold/{number}/{split}"][()] for split in SPLITS}

    def offset(self, modality: str) -> NDArray[np.int64]:
        """Return the offset, (n + 1,): utterance i has the frames offset[i] to offset[i + 1] of ``values``."""
        return self._offsets[modality]

    def values(self, modality: str) -> h5py.Dataset:
        """Return all frames of a modality, (total frames, dim) float32, as an open HDF5 dataset; slicing reads."""
        return self._file[modality]["values"]

    def utterance(self, modality: str, index: int) -> NDArray[np.float32]:
        """Return one utterance, (frames, dim)."""
        start, stop = self._offsets[modality][index : index + 2]
        frames: NDArray[np.float32] = self.values(modality)[start:stop]
        return frames

    def variance(self, modality: str, scope: str = "stored") -> float:
        """Return the variance over all elements in the corruption space (SPEC 2.6). scope: one of ``SCOPES``."""
        return float(self._file[modality].attrs[f"variance_{scope}"])

    def constant_dimensions(self, modality: str) -> int:
        """Return the number of dimensions with the same value in all stored frames."""
        return int(self._file[modality].attrs["constant_dimensions"])

    def zero_utterances(self, modality: str) -> int:
        """Return the number of utterances that contain only zeros after repair."""
        return int(self._file[modality].attrs["zero_utterances"])

    def normalisation(self, fold: int, modality: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Return mean and standard deviation of a training split, each (dim,) float64; None if not standardised."""
        return self._pair(f"fold/{fold}/norm/{modality}")

    def corruption_space(self, modality: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Return mu_D and sigma_D of SPEC 2.6 over the whole dataset, each (dim,) float64; None means 0 and 1."""
        return self._pair(f"{modality}/corruption")

    @cached_property
    def _offsets(self) -> dict[str, NDArray[np.int64]]:
        return {m: self._file[m]["offset"][()] for m in self.modalities}

    def _pair(self, group: str) -> tuple[np.ndarray, np.ndarray] | None:
        if group not in self._file:
            return None
        return self._file[group]["mean"][()], self._file[group]["std"][()]

    def _check(self) -> None:
        try:
            whole = {"classes", "dims", "repairs", "sources"} <= set(self.attributes)
            whole &= bool(self.folds) or not self._needs_folds
            count = len(self.labels)
            whole &= all(self._file[f"utterance/{name}"].shape == (count,) for name in ("id", "speaker"))
            splits = [f"fold/{number}/{split}" for number in self.folds for split in SPLITS]
            whole &= all(self._file[split].ndim == 1 for split in splits)
            whole &= bool(self.modalities)
            for m in self.modalities:
                shape = (int(self._offsets[m][-1]), self.dims[m])
                whole &= self.values(m).shape == shape and len(self._offsets[m]) == count + 1
        except (LookupError, OSError, ValueError, TypeError, AttributeError, RuntimeError):
            whole = False
        if not whole:
            raise DataError(f"{self.path}: not a feature store, or an incomplete one. Delete it and run again.")
