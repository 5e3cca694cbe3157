"""One fold of a corpus in memory, clean and noisy, served as batches of padded sequences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from nmer.corpora.store import FeatureStore
from nmer.errors import DataError
from nmer.names import MODALITIES, SPLITS, values_name
from nmer.systems.interface import Sequences


class FoldData:
    """Clean and, where given, noisy features of one fold on one device, normalised with the fold's training statistics.

    Every utterance stands here in several copies: copy 0 is clean, copy k is noisy, of draw k - 1.
    ids: utterance names. labels: (utterances,) int64. splits: row numbers of train, val and test. deviations: per
    modality the standard deviation that calibrates its noise, in the corruption space (SPEC 2.6).
    """

    def __init__(
        self,
        features: Path,
        noisy: Path | None,
        fold: int,
        device: torch.device,
        scope: str = "stored",
        draws: int = 1,
        spare: int = 0,
    ) -> None:
        """features: the feature store. noisy: the noisy embeddings, or None. scope: of the deviations, as for the
        calibration. draws: how many of the noisy copies to read. spare: copies to leave empty after them, for
        :meth:`replace`. Raises DataError if the files do not fit."""
        with FeatureStore(features) as store:
            self.ids = store.ids
            self.classes = store.classes
            self.dims = store.dims
            self.deviations = {modality: store.variance(modality, scope) ** 0.5 for modality in MODALITIES}
            self.labels = torch.from_numpy(store.labels).to(device)
            self.splits = {split: torch.from_numpy(store.fold(fold)[split]).to(device) for split in SPLITS}
            self._offset = {m: torch.from_numpy(store.offset(m)).to(device) for m in MODALITIES}
            self._normalisation = {m: store.normalisation(fold, m) for m in MODALITIES}
            self._frames = {
                m: _with_zero_row(
                    [store.values(m)[()]]
                    + ([noisy_values(noisy, m, store.values(m).shape, draw) for draw in range(draws)] if noisy else []),
                    self._normalisation[m],
                    spare,
                ).to(device)
                for m in MODALITIES
            }
        self.device = device

    def sequences(self, modality: str, rows: Tensor, copies: Tensor) -> Sequences:
        """Padded sequences of one modality. rows: (batch,) utterances; copies: (batch,) number of the copy of each, or
        bool: whether it is the noisy one."""
        offset, frames = self._offset[modality], self._frames[modality]
        start, lengths = offset[rows], offset[rows + 1] - offset[rows]
        position = torch.arange(int(lengths.max()), device=self.device)
        index = (start + copies * offset[-1])[:, None] + position
        zero_row = len(frames) - 1
        index = torch.where(position < lengths[:, None], index, zero_row)
        return Sequences(frames.index_select(0, index.flatten()).unflatten(0, index.shape), lengths)

    def replace(self, modality: str, row: int, copy: int, change: Callable[[np.ndarray], np.ndarray]) -> None:
        """Put something in the place of a copy of an utterance. change: from its clean features to the new ones, both
        (frames, dim) float32 in the features' own units."""
        offset, frames = self._offset[modality], self._frames[modality]
        start, stop, total = int(offset[row]), int(offset[row + 1]), int(offset[-1])
        mean, std = self._normalisation[modality] or (0.0, 1.0)
        clean = frames[start:stop].cpu().numpy() * np.float32(std) + np.float32(mean)
        changed = (change(clean) - np.float32(mean)) / np.float32(std)
        frames[copy * total + start : copy * total + stop] = torch.from_numpy(changed).to(self.device)


def noisy_values(path: Path, modality: str, shape: tuple[int, int], draw: int = 0) -> np.ndarray:
    """Noisy embeddings of one modality, (total frames, dim). Raises DataError if they are damaged or do not fit."""
    try:
        with h5py.File(path) as file:
            values = file[modality][values_name(draw)][()]
    except (OSError, KeyError) as error:
        raise DataError(f"{path}: cannot be read as noisy embeddings ({error}). Delete it and run again.") from None
    if values.shape != shape:
        raise DataError(
            f"{path}: '{modality}' has shape {values.shape}, the features {shape}. Delete it and run again."
        )
    return values


def _with_zero_row(
    parts: list[np.ndarray], normalisation: tuple[np.ndarray, np.ndarray] | None, spare: int = 0
) -> Tensor:
    # Clean frames, then noisy ones, then the row that padding points to: one array, so that a batch is one gather.
    frames, dim = len(parts[0]), parts[0].shape[1]
    values = np.zeros(((len(parts) + spare) * frames + 1, dim), np.float32)
    for number, part in enumerate(parts):
        block = values[number * frames : (number + 1) * frames]
        block[:] = part
        if normalisation is not None:
            block -= normalisation[0].astype(np.float32)
            block /= normalisation[1].astype(np.float32)
    return torch.from_numpy(values)
