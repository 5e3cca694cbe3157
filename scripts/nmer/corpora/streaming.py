"""Large HDF5 files written block by block, so that memory does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator

import h5py
import numpy as np

BLOCK_BYTES = 4 * 2**20
"""Features gathered before they are counted and written: enough for large writes, and a processor's cache holds it."""


def create_values(file: h5py.File, modality: str, frames: int, dim: int, name: str = "values") -> h5py.Dataset:
    """Create ``{modality}/{name}``, (frames, dim) float32, contiguous, to be filled piece by piece."""
    return file.create_dataset(f"{modality}/{name}", shape=(frames, dim), dtype=np.float32)


def frames_per_block(dim: int) -> int:
    """How many float32 frames of this width a block holds, at least one."""
    return max(1, BLOCK_BYTES // (4 * dim))


def utterance_blocks(offset: np.ndarray, most_frames: int) -> Iterator[tuple[int, int]]:
    """Runs of utterances ``first`` to ``last`` (excluded) of ``most_frames`` frames at most.

    offset: (n + 1,) as :meth:`FeatureStore.offset`. A longer utterance is a run of its own.
    """
    first = 0
    while first < len(offset) - 1:
        fitting = int(np.searchsorted(offset, offset[first] + most_frames, side="right")) - 1
        last = max(fitting, first + 1)
        yield first, last
        first = last
