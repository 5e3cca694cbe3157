"""Frames of one modality, clean and noisy, as padded batches read from files or from GPU memory.

Every utterance has several copies, in arrays of the same shape: copy 0 is clean, the others are noisy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
        utterances: np.ndarray | None = None,
    ) -> None:
        """Copy the frames to a device. utterances: the only ones to copy, by default all. Other arguments as in
        :class:`FileFrames`."""
        chosen = np.arange(len(offset) - 1) if utterances is None else np.sort(utterances)
        lengths = np.zeros(len(offset) - 1, np.int64)
        lengths[chosen] = np.diff(offset)[chosen]
        self._starts, self._lengths = (
            torch.from_numpy(part).to(device) for part in (np.cumsum(lengths) - lengths, lengths)
        )
        self._mean, self._std = (part.astype(np.float32) for part in normalisation or (np.zeros(1), np.ones(1)))
        self._total, dim = int(lengths.sum()), copies[0].dim
        # Padding points to the last row.
        self._frames = torch.zeros((len(copies) + spare) * self._total + 1, dim, device=device)
        most = max(READERS, BLOCK_BYTES // (4 * dim))
        # Copies from page-locked memory are several times as fast.
        block = torch.empty(min(most, self._total), dim, pin_memory=device.type == "cuda")
        parts = _parts(offset, chosen, most // READERS)
        with ThreadPoolExecutor(READERS) as readers:
            for number, copy in enumerate(copies):
                target = self._frames[number * self._total : (number + 1) * self._total]
                done = 0
                for rows in _blocks(parts, len(block)):
                    read = _read(copy, rows, block.numpy(), readers)
                    target[done : done + read].copy_(block[:read])
                    done += read
                if normalisation is not None:
                    target.sub_(torch.from_numpy(self._mean).to(device)).div_(torch.from_numpy(self._std).to(device))

    def padded(self, rows: Tensor, copies: Tensor, longest: int | None = None) -> Sequences:
        """Same as :meth:`FileFrames.padded`. Without ``longest``, the call synchronises the GPU."""
        frames = self._frames
        lengths = self._lengths[rows]
        position = torch.arange(longest or int(lengths.max()), device=frames.device)
        index = (self._starts[rows] + copies * self._total)[:, None] + position
        index = torch.where(position < lengths[:, None], index, len(frames) - 1)
        return Sequences(frames.index_select(0, index.flatten()).unflatten(0, index.shape), lengths)

    def replace(self, row: int, copy: int, change: Change) -> None:
        """Replace a copy of an utterance by ``change`` of its clean features."""
        start = int(self._starts[row])
        stop = start + int(self._lengths[row])
        clean = self._frames[start:stop].cpu().numpy() * self._std + self._mean
        changed = (change(clean) - self._mean) / self._std
        first = copy * self._total
        self._frames[first + start : first + stop] = torch.from_numpy(changed).to(self._frames.device)


def _parts(offset: np.ndarray, utterances: np.ndarray, most: int) -> list[tuple[int, int]]:
    """Return first and last row, exclusive, of the runs of rows of utterances in order, none longer than ``most``."""
    runs: list[list[int]] = []
    for start, stop in zip(offset[utterances].tolist(), offset[utterances + 1].tolist(), strict=True):
        if runs and runs[-1][1] == start:
            runs[-1][1] = stop
        else:
            runs.append([start, stop])
    return [(first, min(first + most, stop)) for start, stop in runs for first in range(start, stop, most)]


def _blocks(parts: list[tuple[int, int]], rows: int) -> Iterator[list[tuple[int, int]]]:
    """Group parts, in order, into blocks of at most ``rows`` rows."""
    block: list[tuple[int, int]] = []
    free = rows
    for start, stop in parts:
        if stop - start > free:
            yield block
            block, free = [], rows
        block.append((start, stop))
        free -= stop - start
    if block:
        yield block


def _read(copy: StoredArray, parts: list[tuple[int, int]], block: np.ndarray, readers: Executor) -> int:
    """Read parts into a block, one after another. Returns their number of rows."""
    ends = np.cumsum([stop - start for start, stop in parts]).tolist()
    places = [block[first:last] for first, last in pairwise([0, *ends])]
    # The list raises the error of a reader.
    list(readers.map(copy.read, [start for start, _stop in parts], places))
    return int(ends[-1])
