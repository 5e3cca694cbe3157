"""One fold of a corpus in memory, clean and noisy, served as batches of padded sequences."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from nmer.corpora.store import FeatureStore
from nmer.errors import DataError
from nmer.names import MODALITIES, SPLITS
from nmer.systems.interface import Sequences


class FoldData:
    """Clean and, where given, noisy features of one fold on one device, normalised with the fold's training statistics.

    ids: utterance names. labels: (utterances,) int64. splits: row numbers of train, val and test. deviations: per
    modality the standard deviation that calibrates its noise, in the corruption space (SPEC 2.6).
    """

    def __init__(
        self, features: Path, noisy: Path | None, fold: int, device: torch.device, scope: str = "stored"
    ) -> None:
        """features: the feature store. noisy: the noisy embeddings, or None. scope: of the deviations, as for the
        calibration. Raises DataError if the files do not fit."""
        with FeatureStore(features) as store:
            self.ids = store.ids
            self.classes = store.classes
            self.dims = store.dims
            self.deviations = {modality: store.variance(modality, scope) ** 0.5 for modality in MODALITIES}
            self.labels = torch.from_numpy(store.labels).to(device)
            self.splits = {split: torch.from_numpy(store.fold(fold)[split]).to(device) for split in SPLITS}
            self._offset = {m: torch.from_numpy(store.offset(m)).to(device) for m in MODALITIES}
            self._frames = {
                m: _with_zero_row(
                    [store.values(m)[()]] + ([noisy_values(noisy, m, store.values(m).shape)] if noisy else []),
                    store.normalisation(fold, m),
                ).to(device)
                for m in MODALITIES
            }
        self.device = device

    def sequences(self, modality: str, rows: Tensor, noisy: Tensor) -> Sequences:
        """Padded sequences of one modality. rows: (batch,) utterances; noisy: (batch,) bool, which of them noisy."""
        offset, frames = self._offset[modality], self._frames[modality]
        start, lengths = offset[rows], offset[rows + 1] - offset[rows]
        position = torch.arange(int(lengths.max()), device=self.device)
        index = (start + noisy * offset[-1])[:, None] + position
        zero_row = len(frames) - 1
        index = torch.where(position < lengths[:, None], index, zero_row)
        return Sequences(frames.index_select(0, index.flatten()).unflatten(0, index.shape), lengths)


def noisy_values(path: Path, modality: str, shape: tuple[int, int]) -> np.ndarray:
    """Noisy embeddings of one modality, (total frames, dim). Raises DataError if they are damaged or do not fit."""
    try:
        with h5py.File(path) as file:
            values = file[modality]["values"][()]
    except (OSError, KeyError) as error:
        raise DataError(f"{path}: cannot be read as noisy embeddings ({error}). Delete it and run again.") from None
    if values.shape != shape:
        raise DataError(
            f"{path}: '{modality}' has shape {values.shape}, the features {shape}. Delete it and run again."
        )
    return values


def _with_zero_row(parts: list[np.ndarray], normalisation: tuple[np.ndarray, np.ndarray] | None) -> Tensor:
    # Clean frames, then noisy ones, then the row that padding points to: one array, so that a batch is one gather.
    frames, dim = len(parts[0]), parts[0].shape[1]
    values = np.zeros((len(parts) * frames + 1, dim), np.float32)
    for number, part in enumerate(parts):
        block = values[number * frames : (number + 1) * frames]
        block[:] = part
        if normalisation is not None:
            block -= normalisation[0].astype(np.float32)
            block /= normalisation[1].astype(np.float32)
    return torch.from_numpy(values)
