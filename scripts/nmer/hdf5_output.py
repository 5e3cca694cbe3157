"""HDF5 files written whole or not at all, and refused where the disk has no room for them."""

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
"""Room for what stands in a file beside its values."""


@contextmanager
def create_file(path: str | Path, size: int = 0) -> Iterator[h5py.File]:
    """Yield a new HDF5 file that takes the name ``path`` when the block has ended and its content is on the disk.

    size: bytes of its values. Raises OSError, before anything is written, if the disk has no room for them.
    """
    with atomic_path(path) as temporary:
        # HDF5 may crash the process where not even its own structures can be written.
        if shutil.disk_usage(temporary.parent).free < size + STRUCTURE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        with h5py.File(temporary, "w") as file:
            yield file
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
