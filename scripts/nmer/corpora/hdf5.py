"""Safe reading of HDF5 files of unknown origin.

An HDF5 file may refer to other files (external and soft links, external storage, virtual datasets) and may declare
arrays far larger than itself. All of these are refused.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from nmer.content import reason, unreadable
from nmer.errors import DataError

LARGEST_ARRAY_BYTES = 2**30
"""Largest read in bytes: one utterance, or one stream of one video."""

LARGEST_COMPRESSION = 1100
"""Largest ratio of declared to stored bytes. Deflate, the usual filter of HDF5, reaches 1032."""


def open_hdf5(path: str | Path) -> h5py.File:
    """Open for reading. Raises DataError that names the file if it is missing, a folder, empty, locked or damaged."""
    path = Path(path)
    try:
        return h5py.File(path, "r")
    except OSError as error:
        problem = "cannot be read as HDF5 ({reason}). Correct the path or get the file again."
        raise unreadable(path, error, problem) from None


def dataset(group: h5py.Group, name: str, path: str | Path) -> h5py.Dataset:
    """Return the dataset ``name`` of a group; the name may be a path.

    path: the file, for messages. Raises DataError if the dataset does not exist, is a link or external, or declares
    much more than it stores.
    """
    found = member(group, name, path)
    if not isinstance(found, h5py.Dataset):
        raise DataError(f"{path}: '{name}' is a group where an array is expected.")
    try:
        elsewhere = found.external or found.is_virtual
        declared, stored = found.nbytes if found.shape is not None else 0, found.id.get_storage_size()
    except (OSError, ValueError, TypeError, RuntimeError) as error:  # a damaged type, or one that NumPy lacks
        raise DataError(f"{path}: '{name}' cannot be read ({reason(error)}). Get the file again.") from None
    if elsewhere:
        raise DataError(f"{path}: '{name}' takes its values from another file; refused. Store them in this one.")
    if found.shape is None:
        raise DataError(f"{path}: '{_name(found)}' holds no values.")
    if declared > LARGEST_COMPRESSION * max(stored, 1):
        raise DataError(
            f"{path}: '{name}' declares {declared} bytes but stores {stored}; refused as damaged or unsafe."
        )
    return found


def member(group: h5py.Group, name: str, path: str | Path) -> h5py.Group | h5py.Dataset:
    """Return a member of a group, reached by hard links only. Raises DataError as in :func:`dataset`."""
    for part in name.split("/"):
        try:
            kind = group.get(part, getclass=True, getlink=True) if isinstance(group, h5py.Group) else None
            if kind is None:
                raise DataError(f"{path}: has no '{name}'.")
            if kind is not h5py.HardLink:
                raise DataError(f"{path}: '{name}' is a link to another place or file; refused. Store the values here.")
            group = group[part]
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise DataError(f"{path}: '{name}' cannot be read ({reason(error)}). Get the file again.") from None
    return group


def read_array(stored: h5py.Dataset, path: str | Path, rows: slice = slice(None)) -> np.ndarray:
    """Read the numbers of a dataset, or some rows.

    Raises DataError if they exceed ``LARGEST_ARRAY_BYTES``, are damaged, or are not numbers.
    """
    values = _read(stored, path, rows)
    if values.dtype.kind not in "biuf":
        raise DataError(f"{path}: '{_name(stored)}' holds {values.dtype} where numbers are expected.")
    return values


def read_column(stored: h5py.Dataset, path: str | Path, real: bool = False, hint: str = "") -> list[str]:
    """Read a dataset (n,) of text or numbers as text.

    real: whether to accept real numbers. hint: what to do about real numbers if they are not accepted. Raises DataError
    as in :func:`read_array`.
    """
    values = _read(stored, path, slice(None))
    if values.ndim != 1:
        raise DataError(f"{path}: '{_name(stored)}' has shape {values.shape}; one entry each is expected.")
    if values.dtype.kind not in "biufO" or (values.dtype.kind == "O" and not _is_text(stored)):
        raise DataError(f"{path}: '{_name(stored)}' holds {values.dtype} where text or numbers are expected.")
    if values.dtype.kind == "f" and not real:
        wrong = values[~(np.isfinite(values) & (values == np.floor(values)))]
        if len(wrong):
            where = "where text or whole numbers are expected."
            raise DataError(f"{path}: '{_name(stored)}' holds {wrong[0]} {where}{hint and f' {hint}'}")
        return [str(int(value)) for value in values.tolist()]
    return [str(value) for value in values.tolist()]


def ragged_offset(file: h5py.File, modality: str, count: int, values: h5py.Dataset, source: Path) -> np.ndarray:
    """Read ``{modality}/offset`` of a file of ragged arrays, (n + 1,) int64: the first frame of each utterance.

    count: n. values: all frames of the modality. source: the file, for messages. Raises DataError if values and offset
    are invalid or do not match.
    """
    offset = read_array(dataset(file, f"{modality}/offset", source), source)
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        raise DataError(
            f"{source}: {modality}/values holds {values.dtype} {values.shape}; numbers (frames, dim) expected."
        )
    whole = offset.dtype.kind in "iu" and offset.shape == (count + 1,)
    if not whole or offset[0] != 0 or offset[-1] != len(values) or (np.diff(offset.astype(np.int64)) < 0).any():
        raise DataError(
            f"{source}: {modality}/offset must hold {count + 1} whole numbers, rising from 0 to {len(values)}, the "
            f"frames of {modality}/values."
        )
    return offset.astype(np.int64)


def _read(stored: h5py.Dataset, path: str | Path, rows: slice) -> np.ndarray:
    row_bytes = stored.nbytes // max(1, len(stored)) if stored.shape else stored.nbytes
    size = row_bytes * (len(range(*rows.indices(len(stored)))) if stored.shape else 1)
    if size > LARGEST_ARRAY_BYTES:
        raise DataError(f"{path}: '{_name(stored)}' has {size} bytes, more than the limit of {LARGEST_ARRAY_BYTES}.")
    selection = rows if stored.shape else ()
    try:
        # h5py does not return scalars as arrays.
        values = np.asarray(stored.asstr("utf-8")[selection] if _is_text(stored) else stored[selection])
    except UnicodeDecodeError:
        raise DataError(f"{path}: '{_name(stored)}' holds text that is not UTF-8. Write it as UTF-8.") from None
    except (OSError, ValueError, TypeError, RuntimeError, MemoryError) as error:
        raise DataError(f"{path}: '{_name(stored)}' cannot be read ({reason(error)}). Get the file again.") from None
    return values


def _is_text(stored: h5py.Dataset) -> bool:
    return h5py.check_string_dtype(stored.dtype) is not None


def _name(stored: h5py.Dataset) -> str:
    return (stored.name or "").lstrip("/")
