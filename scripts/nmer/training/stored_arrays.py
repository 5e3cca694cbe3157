"""Reading of runs of rows from arrays of frames in HDF5 files, clean and noisy. Does not import torch."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np

from nmer.content import unreadable
from nmer.errors import DataError
from nmer.names import values_name


class StoredArray:
    """A contiguous float32 array in an HDF5 file whose rows are read directly from the file.

    HDF5 takes longer to locate an utterance than to read it.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        """Open the file. Raises DataError if the array is compressed or not float32."""
        self._path, self._start = Path(dataset.file.filename), dataset.id.get_offset()
        if self._start is None or dataset.dtype != np.dtype("<f4"):
            raise DataError(f"{self._path}: {dataset.name} is not a plain float32 array. Delete it and run again.")
        self.dim = dataset.shape[1]
        self._file = self._path.open("rb", buffering=0)

    def read(self, first: int, rows: np.ndarray) -> None:
        """Fill ``rows``, (rows, dim) contiguous, starting at row ``first``. Raises DataError if the file ends early."""
        position, remaining = self._start + 4 * first * self.dim, memoryview(rows.data).cast("B")
        while remaining:
            # One call reads at most 2 GB.
            count = os.preadv(self._file.fileno(), [remaining], position)
            if not count:
                raise DataError(f"{self._path}: ends too early. Delete it and run again.")
            position, remaining = position + count, remaining[count:]


def noisy_values(path: Path, modality: str, shape: tuple[int, int]) -> np.ndarray:
    """Read the noisy embeddings of one modality, (total frames, dim).

    Raises DataError if they are damaged or of another shape.
    """
    values = np.empty(shape, np.float32)
    noisy_array(path, modality, shape, draw=0).read(0, values)
    return values


def noisy_array(path: Path, modality: str, shape: tuple[int, int], draw: int) -> StoredArray:
    """Open one draw of the noisy embeddings of one modality. Raises DataError as in :func:`noisy_values`."""
    try:
        with h5py.File(path) as file:
            values = file[modality][values_name(draw)]
            stored_shape, array = values.shape, StoredArray(values)
    except (OSError, KeyError) as error:
        problem = "cannot be read as noisy embeddings ({reason}). Delete it and run again."
        raise unreadable(path, error, problem) from None
    if stored_shape != shape:
        raise DataError(
            f"{path}: '{modality}' has shape {stored_shape}, the features {shape}. Delete it and run again."
        )
    return array
