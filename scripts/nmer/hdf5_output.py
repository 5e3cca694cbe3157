"""Write HDF5 files atomically, and only if the disk has space for them."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from nmer.files import atomic_path

STRUCTURE_BYTES = 64 * 2**10
"""Space for the contents of a file other than its values."""


@contextmanager
def create_file(path: str | Path, size: int = 0) -> Iterator[h5py.File]:
    """Yield a new HDF5 file that is synced and renamed to ``path`` when the block ends without an error.

    size: bytes of its values. Raises OSError, before anything is written, if the disk has no space for them.
    """
    with atomic_path(path) as temporary:
        # HDF5 may crash the process if it cannot even write its own structures.
        if shutil.disk_usage(temporary.parent).free < size + STRUCTURE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        with h5py.File(temporary, "w") as file:
            yield file
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
