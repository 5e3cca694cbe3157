"""Reading features for prediction: an HDF5 file of ragged arrays, or a folder of ``.npy`` files.

Both follow the layouts ``ragged_hdf5`` and ``npy_folder``, without labels, splits and folds, which prediction does not
need.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from nmer.corpora.arrays import load_array
from nmer.corpora.hdf5 import dataset, member, open_hdf5, ragged_offset, read_array, read_column
from nmer.errors import ConfigError, DataError, nearest
from nmer.names import SPLITS
from nmer.utterance_table import check_file_names, read_listing


@dataclass(frozen=True)
class NewFeatures:
    """Features of n utterances. ids: their ids. features: modality -> n arrays (frames, dim)."""

    ids: list[str]
    features: dict[str, list[np.ndarray]]


def read_new_features(
    path: str | Path, modalities: tuple[str, ...], split: str | None = None, fold: int = 1
) -> NewFeatures:
    """Read the modalities of all utterances, or of one split of a fold.

    path: an HDF5 file with ``utterance/id`` and, per modality, ``values`` (total frames, dim) and ``offset`` (n + 1),
    such as a feature store. Or a folder with ``a/{id}.npy`` and so on; ``utterances.csv`` (column ``id``) selects
    utterances. split: only for a file that has ``fold/{k}/{split}``.
    Raises DataError or ConfigError that name the file and what is missing, if it has no utterance, or has one twice.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder. Give an HDF5 file of features or a folder of .npy files.")
    if path.is_dir():
        if split:
            raise ConfigError(f"--split: the folder {path} has no splits. Leave it out.")
        return _unambiguous(_from_folder(path, modalities), path)
    with open_hdf5(path) as file:
        ids = read_column(dataset(file, "utterance/id", path), path)
        selected = range(len(ids)) if split is None else _rows(file, split, fold, len(ids), path)
        features = {modality: _ragged(file, modality, len(ids), selected, path) for modality in modalities}
        return _unambiguous(NewFeatures([ids[row] for row in selected], features), path)


def _unambiguous(found: NewFeatures, path: Path) -> NewFeatures:
    """Return the features. Raises DataError if there are none, or if two predictions would have the same id."""
    if not found.ids:
        raise DataError(f"{path}: contains no utterance to predict. Choose another file or split.")
    for identifier, count in Counter(found.ids).items():
        if count > 1:
            raise DataError(f"{path}: utterance '{identifier}' is listed {count} times. Give each its own id.")
    return found


def _rows(file: h5py.File, split: str, fold: int, count: int, path: Path) -> list[int]:
    if split not in SPLITS:
        raise ConfigError(f"--split: unknown split '{split}'. {nearest(split, SPLITS)}")
    group = member(file, "fold", path) if "fold" in list(file) else None
    folds = list(group) if isinstance(group, h5py.Group) else []
    if str(fold) not in folds:
        known = ", ".join(sorted(folds, key=lambda name: (len(name), name)))
        advice = f"Give --fold one of {known}." if folds else "Leave out --split, or give a feature store."
        raise DataError(f"{path}: has no fold {fold}. {advice}")
    rows = read_array(dataset(file, f"fold/{fold}/{split}", path), path)
    if rows.dtype.kind not in "iu" or rows.ndim != 1 or (len(rows) and not 0 <= rows.min() <= rows.max() < count):
        raise DataError(f"{path}: fold/{fold}/{split} must contain indices of utterances from 0 to {count - 1}.")
    return [int(row) for row in rows]


def _ragged(file: h5py.File, modality: str, count: int, rows: range | list[int], path: Path) -> list[np.ndarray]:
    values = dataset(file, f"{modality}/values", path)
    offset = ragged_offset(file, modality, count, values, path)
    return [read_array(values, path, np.s_[offset[row] : offset[row + 1]]) for row in rows]


def _from_folder(path: Path, modalities: tuple[str, ...]) -> NewFeatures:
    listing = path / "utterances.csv"
    if listing.is_file():
        ids = read_listing(listing, ("id",))["id"]
    else:
        # Of every modality, so that an utterance that lacks one is reported instead of left out.
        ids = sorted({file.stem for modality in modalities for file in (path / modality).glob("*.npy")})
    if not ids:
        needed = ", ".join(f"{modality}/{{id}}.npy" for modality in modalities)
        raise DataError(f"{path}: no {modalities[0]}/*.npy in it. Give a folder with {needed}.")
    check_file_names(ids, listing)
    return NewFeatures(ids, {m: [load_array(path / m / f"{name}.npy") for name in ids] for m in modalities})
