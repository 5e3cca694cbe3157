"""Lock GPU slots of one user on one machine with files, so that the jobs of all invocations share them."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from nmer.errors import DataError

LOCKS = Path(tempfile.gettempdir()) / f"nmer_gpus_{os.getuid()}"
"""Folder of the locks, local to the machine, because each machine of a cluster may have a device 0."""

SECONDS_BETWEEN_TRIES = 0.1
SECONDS_OF_SILENCE = 10.0
"""Time after which a waiting job reports what it waits for."""


@contextmanager
def locked_slot(devices: list[str], slots: int, locks: Path = LOCKS) -> Iterator[int]:
    """Wait for a free slot, hold it and yield the number of its device. Surplus slots share the devices evenly.

    Reports on standard error what it waits for. Raises DataError if the folder of the locks is not private.
    """
    _make_private(locks)
    places = [(slot % len(devices), slot // len(devices)) for slot in range(slots)]
    candidates = [(device, FileLock(locks / f"gpu{devices[device]}_{share}.lock")) for device, share in places]
    started, reported = time.monotonic(), False
    while True:
        for device, lock in candidates:
            if Path(lock.lock_file).is_dir():
                raise DataError(f"{lock.lock_file}: is a folder, but must be a lock file. Remove it and run again.")
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            try:
                _sign(Path(lock.lock_file))
                yield device
            finally:
                lock.release()
            return
        if not reported and time.monotonic() - started >= SECONDS_OF_SILENCE:
            reported = True
            held = "; ".join(f"GPU {devices[device]} by {_holder(Path(lock.lock_file))}" for device, lock in candidates)
            print(f"Waiting for a free GPU. Held: {held}.", file=sys.stderr, flush=True)
        time.sleep(SECONDS_BETWEEN_TRIES)


def _make_private(folder: Path) -> None:
    """Create a folder that only this user can read and write, or check that it is one."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid():
        raise DataError(
            f"{folder}: the GPU locks belong here, but it is not a folder that you own. "
            "Remove it, or set TMPDIR to another folder, and run again."
        )
    if stat.S_IMODE(state.st_mode) & 0o077:
        folder.chmod(0o700)


def _sign(lock: Path) -> None:
    """Write the holder of a lock next to it, for jobs that wait."""
    with suppress(OSError):
        lock.with_suffix(".holder").write_text(f"process {os.getpid()} in {Path.cwd()}", encoding="utf-8")


def _holder(lock: Path) -> str:
    try:
        return lock.with_suffix(".holder").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return "an unknown process"
