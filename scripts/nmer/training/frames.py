"""Frames of one modality, clean and noisy, as padded batches read from files or from GPU memory.

Every utterance has several copies, in arrays of the same shape: copy 0 is clean, the others are noisy.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from nmer.systems.interface import Sequences
from nmer.training.stored_arrays import StoredArray

Change = Callable[[np.ndarray], np.ndarray]
Normalisation = tuple[np.ndarray, np.ndarray] | None


BLOCK_BYTES = 64 * 2**20
"""Size of one copy to a GPU."""

READERS = 4
"""Threads that read a block. One thread reads from the page cache at a fraction of the memory's speed."""


class FileFrames:
    """Frames that stay in their files. Each batch is read from the files; the page cache, shared by all processes,
    keeps what was read. Training starts without preloading, and memory does not grow with the corpus."""

    def __init__(self, copies: list[StoredArray], offset: np.ndarray, normalisation: Normalisation, spare: int) -> None:
        """offset: (utterances + 1,), as in the feature store. normalisation: mean and standard deviation to apply.
        spare: number of copies in memory, after those in files, for :meth:`replace`."""
        self._copies, self._offset = copies, offset
        self._mean, self._std = (part.astype(np.float32) for part in normalisation or (np.zeros(1), np.ones(1)))
        self._normalised = normalisation is not None
        self._dim = copies[0].dim
        self._spare = [np.zeros((offset[-1], self._dim), np.float32) for _ in range(spare)]

    def padded(self, rows: Tensor, copies: Tensor, longest: int | None = None) -> Sequences:
        """Return padded sequences. rows, copies: (batch,) utterances and the number of the copy of each. longest:
        frames to pad to, by default those of the longest utterance."""
        utterances = rows.numpy()
        starts, lengths = self._offset[utterances], self._offset[utterances + 1] - self._offset[utterances]
        values = np.zeros((len(utterances), longest or lengths.max(), self._dim), np.float32)
        for index, (start, length, copy) in enumerate(
            zip(starts.tolist(), lengths.tolist(), copies.tolist(), strict=True)
        ):
            frames = values[index, :length]
            if copy < len(self._copies):
                self._copies[int(copy)].read(start, frames)
                self._normalise(frames)
            else:
                frames[:] = self._spare[copy - len(self._copies)][start : start + length]
        return Sequences(torch.from_numpy(values), torch.from_numpy(lengths))

    def replace(self, row: int, copy: int, change: Change) -> None:
        """Replace a spare copy of an utterance by ``change`` of its clean features."""
        start, stop = self._offset[row : row + 2].tolist()
        clean = np.empty((stop - start, self._dim), np.float32)
        self._copies[0].read(start, clean)
        self._spare[copy - len(self._copies)][start:stop] = change(clean)
        self._normalise(self._spare[copy - len(self._copies)][start:stop])

    def _normalise(self, frames: np.ndarray) -> None:
        if self._normalised:
            frames -= self._mean
            frames /= self._std


class DeviceFrames:
    """Normalised frames in GPU memory, in one array, so a batch is one gather."""

    def __init__(
        self,
        copies: list[StoredArray],
        offset: np.ndarray,
        normalisation: Normalisation,
        spare: int,
        device: torch.device,
    ) -> None:
        """Copy the frames to a device. Other arguments as in :class:`FileFrames`."""
        self._offset = torch.from_numpy(offset).to(device)
        self._mean, self._std = (part.astype(np.float32) for part in normalisation or (np.zeros(1), np.ones(1)))
        total, dim = int(offset[-1]), copies[0].dim
        # Padding points to the last row.
        self._frames = torch.zeros((len(copies) + spare) * total + 1, dim, device=device)
        rows = max(1, BLOCK_BYTES // (4 * dim))
        # Copies from page-locked memory are several times as fast.
        block = torch.empty(min(rows, total), dim, pin_memory=device.type == "cuda")
        with ThreadPoolExecutor(READERS) as readers:
            for number, copy in enumerate(copies):
                target = self._frames[number * total : (number + 1) * total]
                for start in range(0, total, rows):
                    part = block[: min(rows, total - start)]
                    _read(copy, start, part.numpy(), readers)
                    target[start : start + len(part)].copy_(part)
                if normalisation is not None:
                    target.sub_(torch.from_numpy(self._mean).to(device)).div_(torch.from_numpy(self._std).to(device))

    def padded(self, rows: Tensor, copies: Tensor, longest: int | None = None) -> Sequences:
        """Same as :meth:`FileFrames.padded`. Without ``longest``, the call synchronises the GPU."""
        offset, frames = self._offset, self._frames
        start, lengths = offset[rows], offset[rows + 1] - offset[rows]
        position = torch.arange(longest or int(lengths.max()), device=frames.device)
        index = (start + copies * offset[-1])[:, None] + position
        index = torch.where(position < lengths[:, None], index, len(frames) - 1)
        return Sequences(frames.index_select(0, index.flatten()).unflatten(0, index.shape), lengths)

    def replace(self, row: int, copy: int, change: Change) -> None:
        """Replace a copy of an utterance by ``change`` of its clean features."""
        start, stop = self._offset[row : row + 2].tolist()
        total = int(self._offset[-1])
        clean = self._frames[start:stop].cpu().numpy() * self._std + self._mean
        changed = (change(clean) - self._mean) / self._std
        self._frames[copy * total + start : copy * total + stop] = torch.from_numpy(changed).to(self._frames.device)


def _read(copy: StoredArray, first: int, rows: np.ndarray, readers: Executor) -> None:
    """Read rows as :meth:`StoredArray.read` does, in as many parts as there are readers."""
    bounds = np.linspace(0, len(rows), READERS + 1, dtype=int).tolist()
    parts = [(start, stop) for start, stop in pairwise(bounds) if start < stop]
    # The list raises the error of a reader.
    list(readers.map(lambda part: copy.read(first + part[0], rows[part[0] : part[1]]), parts))


class StreamedFrames:
    """Frames copied from files to a GPU batch by batch, for data that is read only once or twice."""

    def __init__(self, frames: FileFrames, device: torch.device) -> None:
        self._file_frames, self._device = frames, device

    def padded(self, rows: Tensor, copies: Tensor, longest: int | None = None) -> Sequences:
        """Same as :meth:`FileFrames.padded`, on the device."""
        values, lengths = self._file_frames.padded(rows.cpu(), copies.cpu(), longest)
        return Sequences(values.to(self._device), lengths.to(self._device))
