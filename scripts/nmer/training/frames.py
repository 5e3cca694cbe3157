"""The frames of one modality, clean and noisy, served as padded batches: out of the files, or out of a GPU's memory.

Every utterance has several copies, which lie in arrays of one shape: copy 0 is clean, the others are noisy.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from nmer.systems.interface import Sequences
from nmer.training.stored_arrays import StoredArray

Change = Callable[[np.ndarray], np.ndarray]
Normalisation = tuple[np.ndarray, np.ndarray] | None


BLOCK_BYTES = 64 * 2**20
"""What is copied to a GPU at once."""


class FileFrames:
    """Frames that stay in their files: a batch reads its own, and the system keeps in memory what was read, once for
    all processes. A job starts at once, and needs no memory that grows with the corpus."""

    def __init__(self, copies: list[StoredArray], offset: np.ndarray, normalisation: Normalisation, spare: int) -> None:
        """offset: (utterances + 1,), as in the feature store. normalisation: mean and standard deviation that every
        frame is served with. spare: copies to put something in, after the others; they are in memory."""
        self._copies, self._offset = copies, offset
        self._mean, self._std = (part.astype(np.float32) for part in normalisation or (np.zeros(1), np.ones(1)))
        self._normalised = normalisation is not None
        self._dim = copies[0].dim
        self._spare = [np.zeros((offset[-1], self._dim), np.float32) for _ in range(spare)]

    def padded(self, rows: Tensor, copies: Tensor, longest: int | None = None) -> Sequences:
        """rows, copies: (batch,) utterances and the number of the copy of each. longest: frames to pad to, where that
        is more than the longest of them."""
        chosen = rows.numpy()
        starts, lengths = self._offset[chosen], self._offset[chosen + 1] - self._offset[chosen]
        values = np.zeros((len(chosen), longest or lengths.max(), self._dim), np.float32)
        for place, (start, length, copy) in enumerate(
            zip(starts.tolist(), lengths.tolist(), copies.tolist(), strict=True)
        ):
            frames = values[place, :length]
            if copy < len(self._copies):
                self._copies[int(copy)].read(start, frames)
                self._normalise(frames)
            else:
                frames[:] = self._spare[copy - len(self._copies)][start : start + length]
        return Sequences(torch.from_numpy(values), torch.from_numpy(lengths))

    def replace(self, row: int, copy: int, change: Change) -> None:
        """Put something in the place of a spare copy of an utterance: ``change`` of its clean features."""
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
    """Frames in a GPU's memory, normalised: one array, so that a batch is one gather."""

    def __init__(
        self,
        copies: list[StoredArray],
        offset: np.ndarray,
        normalisation: Normalisation,
        spare: int,
        device: torch.device,
    ) -> None:
        """As :class:`FileFrames`. device: where the frames go."""
        self._offset = torch.from_numpy(offset).to(device)
        self._mean, self._std = (part.astype(np.float32) for part in normalisation or (np.zeros(1), np.ones(1)))
        total, dim = int(offset[-1]), copies[0].dim
        # The last row is the one that padding points to.
        self._frames = torch.zeros((len(copies) + spare) * total + 1, dim, device=device)
        rows = max(1, BLOCK_BYTES // (4 * dim))
        # Page-locked, from which a GPU copies several times as fast.
        block = torch.empty(min(rows, total), dim, pin_memory=device.type == "cuda")
        for number, copy in enumerate(copies):
            own = self._frames[number * total : (number + 1) * total]
            for start in range(0, total, rows):
                part = block[: min(rows, total - start)]
                copy.read(start, part.numpy())
                own[start : start + len(part)].copy_(part)
            if normalisation is not None:
                own.sub_(torch.from_numpy(self._mean).to(device)).div_(torch.from_numpy(self._std).to(device))

    def padded(self, rows: Tensor, copies: Tensor, longest: int | None = None) -> Sequences:
        """As :meth:`FileFrames.padded`. Without ``longest`` the program waits for the GPU to tell it."""
        offset, frames = self._offset, self._frames
        start, lengths = offset[rows], offset[rows + 1] - offset[rows]
        position = torch.arange(longest or int(lengths.max()), device=frames.device)
        index = (start + copies * offset[-1])[:, None] + position
        index = torch.where(position < lengths[:, None], index, len(frames) - 1)
        return Sequences(frames.index_select(0, index.flatten()).unflatten(0, index.shape), lengths)

    def replace(self, row: int, copy: int, change: Change) -> None:
        """Put something in the place of a copy of an utterance: ``change`` of its clean features."""
        start, stop = self._offset[row : row + 2].tolist()
        total = int(self._offset[-1])
        clean = self._frames[start:stop].cpu().numpy() * self._std + self._mean
        changed = (change(clean) - self._mean) / self._std
        self._frames[copy * total + start : copy * total + stop] = torch.from_numpy(changed).to(self._frames.device)


class StreamedFrames:
    """Frames that stay in their files and go to a GPU batch by batch, where each is read once or twice."""

    def __init__(self, frames: FileFrames, device: torch.device) -> None:
        self._own, self._device = frames, device

    def padded(self, rows: Tensor, copies: Tensor, longest: int | None = None) -> Sequences:
        """As :meth:`FileFrames.padded`, on the device."""
        values, lengths = self._own.padded(rows.cpu(), copies.cpu(), longest)
        return Sequences(values.to(self._device), lengths.to(self._device))
