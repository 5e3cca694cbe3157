"""Safe reading of NumPy files (``.npy``) of unknown origin."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from nmer.errors import DataError


def load_array(path: str | Path) -> np.ndarray:
    """Read an array of numbers, booleans, text or bytes from a ``.npy`` file.

    Raises DataError that names the file if it is missing, a folder, empty or damaged, contains Python objects, or
    declares a shape that does not match its content.
    """
    shape, dtype, start = _header(Path(path))
    _check_length(Path(path), shape, dtype, start)
    try:
        array: np.ndarray = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise _damaged(path, error) from None
    return array


def array_header(path: str | Path) -> tuple[tuple[int, ...], np.dtype]:
    """Read shape and type of the array in a ``.npy`` file. Raises DataError as in :func:`load_array`."""
    shape, dtype, start = _header(Path(path))
    _check_length(Path(path), shape, dtype, start)
    return shape, dtype


def decode(names: np.ndarray, path: str | Path) -> list[str]:
    """Convert an array (N,) of text or UTF-8 bytes to a list of text. Raises DataError for other bytes."""
    try:
        return [name.decode("utf-8") if isinstance(name, bytes) else name for name in names.tolist()]
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: the name {error.object!r} is not UTF-8. Write names as UTF-8 text.") from None


def _header(path: Path) -> tuple[tuple[int, ...], np.dtype, int]:
    """Return shape, type, and the position where the content starts."""
    try:
        with path.open("rb") as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _fortran, dtype = read(stream)
            return shape, dtype, stream.tell()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file. Complete the corpus.") from None
    except Exception as error:  # NumPy parses the header as Python source, which can fail in many ways
        raise _damaged(path, error) from None


def _check_length(path: Path, shape: tuple[int, ...], dtype: np.dtype, start: int) -> None:
    if dtype.hasobject:
        raise DataError(f"{path}: contains Python objects; refused. Save a plain array of numbers or text.")
    declared, stored = math.prod(shape) * dtype.itemsize, path.stat().st_size - start
    if declared != stored:
        raise DataError(f"{path}: declares {declared} bytes but has {stored}; damaged. Get or write the file again.")


def _damaged(path: str | Path, error: Exception) -> DataError:
    reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{path}: cannot be read as a plain NumPy array ({reason}). Get or write the file again.")
