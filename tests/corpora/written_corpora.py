"""A corpus in memory that is written in the generic layouts."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

DIMS = {"a": 4, "v": 3, "l": 5}
CLASSES = ["angry", "calm", "glad"]


@dataclass
class Arrays:
    """A corpus in memory: columns of the table, and frames per modality and utterance."""

    columns: dict[str, list]
    frames: dict[str, list[np.ndarray]]

    @property
    def count(self) -> int:
        return len(self.columns["id"])


def make_arrays() -> Arrays:
    """Thirty utterances of three classes and six speakers."""
    generator = np.random.default_rng(5)
    count = 30
    labels = [CLASSES[index % 3] for index in range(count)]
    columns = {
        "id": [f"u{index:02d}é" for index in range(count)],
        "label": labels,
        "speaker": [f"s{index // 5}" for index in range(count)],
    }
    frames = {m: [generator.normal(size=(generator.integers(1, 9), d)) for _ in range(count)] for m, d in DIMS.items()}
    return Arrays(columns, frames)


def write_folder(folder: Path, arrays: Arrays, dtype: type = np.float32) -> Path:
    for m, frames in arrays.frames.items():
        (folder / m).mkdir(parents=True)
        for identifier, values in zip(arrays.columns["id"], frames, strict=True):
            np.save(folder / m / f"{identifier}.npy", values.astype(dtype))
    with (folder / "utterances.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([arrays.columns, *zip(*arrays.columns.values(), strict=True)])
    return folder


def write_hdf5(path: Path, arrays: Arrays, dtype: type = np.float32) -> Path:
    with h5py.File(path, "w") as file:
        for name, column in arrays.columns.items():
            file[f"utterance/{name}"] = column
        for m, frames in arrays.frames.items():
            file[f"{m}/values"] = np.concatenate(frames).astype(dtype)
            file[f"{m}/offset"] = np.cumsum([0, *map(len, frames)])
    return path


WRITERS = {"npy_folder": write_folder, "ragged_hdf5": write_hdf5}
