"""Read pairs of clean and noisy sequences for Figure 3 from a feature store and its noisy embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from nmer.content import unreadable
from nmer.errors import DataError
from nmer.names import modality_set


@dataclass(frozen=True)
class Pairs:
    """Clean and noisy sequences of some utterances, each (frames, dim) float32, in corruption space (SPEC 2.6)."""

    original: list[np.ndarray]
    noisy: list[np.ndarray]


def read_test_utterances(features: str | Path, fold: int = 1) -> tuple[np.ndarray, list[str]]:
    """Read positions (ascending, int64) and names of the test utterances of a fold. Raises DataError if unreadable."""
    with _open(features) as store:
        try:
            positions = np.sort(store[f"fold/{fold}/test"][:].astype(np.int64))
            names = store["utterance/id"].asstr()[:]
        except KeyError as error:
            raise DataError(f"{features}: not a feature store ({error.args[0]}). Delete it and run again.") from None
    return positions, [str(names[position]) for position in positions]


def read_modalities(features: str | Path) -> tuple[str, ...]:
    """Read the modalities of a feature store, in the order a, v, l. Raises DataError if it is unreadable."""
    with _open(features) as store:
        return modality_set(store)


def read_pairs(
    features: str | Path, noisy: str | Path, modality: str, positions: np.ndarray, max_frames: int
) -> tuple[Pairs, int]:
    """Read clean and noisy sequences of some utterances, cut to ``max_frames``, and the largest number of frames.

    That number is over the whole store, at most ``max_frames``. A modality that is corrupted in standardised units is
    returned in these units, ``(x - mean) / std``. Raises DataError if the two files do not belong together.
    """
    with _open(features) as store, _open(noisy) as copy:
        try:
            group, changed = store[modality], copy[f"{modality}/values"]
            clean, offset = group["values"], group["offset"][:]
        except KeyError as error:
            raise DataError(
                f"{noisy}: does not hold modality '{modality}' of {features} ({error.args[0]}). Delete it, run again."
            ) from None
        if clean.shape != changed.shape:
            raise DataError(f"{noisy}: shape differs from that of {features}. Delete the noisy file and run again.")
        mean, std = _corruption_space(group)
        spans = [(offset[i], min(offset[i + 1], offset[i] + max_frames)) for i in positions]
        original = [(clean[start:stop] - mean) / std for start, stop in spans]
        corrupted = [(changed[start:stop] - mean) / std for start, stop in spans]
        return Pairs(original, corrupted), int(min(max_frames, np.diff(offset).max()))


def _corruption_space(group: h5py.Group) -> tuple[np.ndarray | np.float32, np.ndarray | np.float32]:
    if "corruption" not in group:
        return np.float32(0), np.float32(1)
    return group["corruption/mean"][:], group["corruption/std"][:]


def _open(path: str | Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise unreadable(path, error, "cannot be read as HDF5 ({reason}). Delete it and run again.") from None
