"""Block-wise writing of large HDF5 files with bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import h5py
import numpy as np

BLOCK_BYTES = 4 * 2**20
"""Size of a block of features: large enough for efficient writes, small enough for the processor's cache."""


def create_values(file: h5py.File, modality: str, frames: int, dim: int, name: str = "values") -> h5py.Dataset:
    """Create ``{modality}/{name}``, (frames, dim) float32, contiguous, to be filled block by block."""
    return file.create_dataset(f"{modality}/{name}", shape=(frames, dim), dtype=np.float32)


def frames_per_block(dim: int) -> int:
    """Return the number of float32 frames of this width per block, at least one."""
    return max(1, BLOCK_BYTES // (4 * dim))


def utterance_blocks(offset: np.ndarray, max_frames: int) -> Iterator[tuple[int, int]]:
    """Yield runs of utterances ``first`` to ``last`` (excluded) with at most ``max_frames`` frames.

    offset: (n + 1,), as in :meth:`FeatureStore.offset`. A longer utterance is a run by itself.
    """
    first = 0
    while first < len(offset) - 1:
        fitting = int(np.searchsorted(offset, offset[first] + max_frames, side="right")) - 1
        last = max(fitting, first + 1)
        yield first, last
        first = last
