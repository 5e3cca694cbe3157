"""HDF5 file with the extracted features and states of utterances, as ragged arrays.

``id``, ``state``, ``key`` (n,) text; ``counts`` (n,) JSON; ``values`` (total frames, dim) float32; ``offset`` (n + 1,):
utterance i has the frames from ``offset[i]`` to ``offset[i + 1]``. An utterance without features has no frames.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from nmer.content import converting, unreadable
from nmer.hdf5_output import create_file


@dataclass(frozen=True)
class Entry:
    """The result of one utterance.

    key: digest of everything that the features depend on. values: (frames, dim) float32, no frames if ``state`` is not
    usable.
    """

    id: str
    key: str
    state: str
    values: NDArray[np.float32]
    counts: dict[str, int] = field(default_factory=dict)


def write_entries(path: Path, entries: Sequence[Entry], metadata: dict[str, Any]) -> None:
    """Write a file of features. metadata: attributes, stored as JSON."""
    dim = max((entry.values.shape[1] for entry in entries), default=0)
    size = sum(entry.values.nbytes for entry in entries)
    with create_file(path, size) as file:
        for name in ("id", "key", "state"):
            file[name] = np.array([getattr(entry, name) for entry in entries], dtype=h5py.string_dtype())
        counts = [json.dumps(entry.counts, sort_keys=True) for entry in entries]
        file["counts"] = np.array(counts, dtype=h5py.string_dtype())
        with_frames = [entry.values for entry in entries if len(entry.values)]
        file["values"] = np.concatenate(with_frames) if with_frames else np.zeros((0, dim), np.float32)
        file["offset"] = np.cumsum([0, *(len(entry.values) for entry in entries)], dtype=np.int64)
        for name, value in metadata.items():
            file.attrs[name] = json.dumps(value, sort_keys=True)


def read_entries(path: Path) -> tuple[list[Entry], dict[str, Any]]:
    """Read the entries and the metadata of a file. Raises DataError if it is damaged."""
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise unreadable(path, error, "is damaged ({reason}). Delete it and run again.") from None
    with file, converting(path, "Delete it and run again."):
        columns = {name: file[name].asstr()[()].tolist() for name in ("id", "key", "state", "counts")}
        offset, values = file["offset"][()], file["values"][()]
        entries = [
            Entry(identifier, key, state, values[offset[i] : offset[i + 1]], json.loads(counts))
            for i, (identifier, key, state, counts) in enumerate(zip(*columns.values(), strict=True))
        ]
        return entries, {name: json.loads(value) for name, value in file.attrs.items()}
