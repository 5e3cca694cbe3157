"""One fold of a corpus, clean and noisy, as batches of padded sequences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nmer.corpora.store import FeatureStore
from nmer.names import SCORE, SPLITS
from nmer.systems.interface import Sequences
from nmer.training.frames import DeviceFrames, FileFrames, Normalisation
from nmer.training.stored_arrays import StoredArray, noisy_array


class FoldData:
    """Clean and noisy features of one fold on one device, normalised with the statistics of its training split.

    Every utterance has several copies: copy 0 is clean, copy k is noisy with draw k - 1. Several levels follow each
    other, each with all its draws.
    ids: utterance names. modalities: of the corpus, in the order a, v, l. target: classes or score. labels:
    (utterances,) int64, or float32 scores. scores: (utterances,) float64, the labels in full precision, or None for
    classes. outputs: width of a system's ``logits``: the number of classes, or 1. splits: row numbers of train, val and
    test, on the device. training_rows: row numbers of train, on the CPU. normalisation: per modality mean and standard
    deviation of the training split, or None for features that are not normalised. noisy_copies: numbers of the noisy
    copies; (0,) without noisy embeddings. deviations: per modality the standard deviation that calibrates its noise, in
    the corruption space (SPEC 2.6).
    """

    def __init__(
        self,
        features: Path,
        noisy: Path | Sequence[Path] | None,
        fold: int,
        device: torch.device,
        scope: str = "stored",
        draws: int = 1,
        spare: int = 0,
        only: str | None = None,
    ) -> None:
        """features: the feature store. noisy: noisy embeddings of one level or of several, or None. scope: scope of the
        deviations, as in the calibration. draws: number of noisy copies to read. spare: number of empty copies to add
        for :meth:`replace`. only: the only split to copy to a GPU, by default all utterances. Raises DataError if the
        files do not match.
        """
        files = [noisy] if isinstance(noisy, Path) else list(noisy or [])
        self._sources: dict[str, tuple[list[StoredArray], np.ndarray, Normalisation, int]] = {}
        self._frames: dict[str, FileFrames | DeviceFrames] = {}
        with FeatureStore(features) as store:
            self.ids = store.ids
            self.target = store.target
            self.classes = store.classes
            self.outputs = 1 if self.target == SCORE else len(self.classes)
            self.scores = store.labels if self.target == SCORE else None
            self.dims = store.dims
            self.modalities = store.modalities
            self.deviations = {modality: store.variance(modality, scope) ** 0.5 for modality in self.modalities}
            labels = store.labels.astype(np.float32) if self.target == SCORE else store.labels
            self.labels = torch.from_numpy(labels).to(device)
            self.training_rows = store.fold(fold)["train"]
            self.normalisation = {modality: store.normalisation(fold, modality) for modality in self.modalities}
            self._copied = None if only is None else store.fold(fold)[only]
            self.splits = {split: torch.from_numpy(store.fold(fold)[split]).to(device) for split in SPLITS}
            self._lengths = {modality: np.diff(store.offset(modality)) for modality in self.modalities}
            for m in self.modalities:
                values = store.values(m)
                copies = [StoredArray(values)]
                copies += [noisy_array(file, m, values.shape, draw) for file in files for draw in range(draws)]
                self._sources[m] = (copies, store.offset(m), self.normalisation[m], spare)
        self.device = device
        self.noisy_copies = tuple(range(1, 1 + len(files) * draws + spare)) or (0,)

    def sequences(self, modality: str, rows: Tensor, copies: Tensor, longest: int | None = None) -> Sequences:
        """Return padded sequences of one modality.

        rows: (batch,) utterances. copies: (batch,) number of the copy of each, or bool: whether to use the first noisy
        one. longest: frames to pad to, by default those of the longest utterance.
        """
        return self._frames_of(modality).padded(rows, copies, longest)

    def lengths(self, modality: str, rows: np.ndarray) -> np.ndarray:
        """Return the frames of utterances, in the shape of their row numbers, without synchronising the GPU."""
        lengths: np.ndarray = self._lengths[modality][rows]
        return lengths

    def longest(self, modality: str, rows: np.ndarray) -> int:
        """Return the frames of the longest of some utterances."""
        return int(self.lengths(modality, rows).max())

    def replace(self, modality: str, row: int, copy: int, change: Callable[[np.ndarray], np.ndarray]) -> None:
        """Replace a spare copy of an utterance. change: function from its clean features to the new ones, both (frames,
        dim) float32 before normalisation."""
        self._frames_of(modality).replace(row, copy, change)

    def _frames_of(self, modality: str) -> FileFrames | DeviceFrames:
        """Return the frames of a modality. A GPU loads only the modalities that a system reads."""
        if modality not in self._frames:
            source = self._sources[modality]
            if self.device.type == "cpu":
                # A CPU reads its batches from the files as fast as it gathers them from memory.
                self._frames[modality] = FileFrames(*source)
            else:
                self._frames[modality] = DeviceFrames(*source, self.device, self._copied)
        return self._frames[modality]
