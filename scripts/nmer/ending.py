"""End a step early, on SIGTERM or when the process that started it has died.

A killed Snakemake leaves its steps running, and they would overwrite the files of the next run. So a step watches the
process that started it and ends with it. Its temporary files are removed in either case.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OWNER_VARIABLE = "NMER_OWNER"
"""Environment variable that names the process that started the steps, as returned by :func:`owner`."""

GRACE_SECONDS = 20
"""Time to clean up after SIGTERM; schedulers kill after 30 seconds."""


SECONDS_BETWEEN_LOOKS = 1.0
"""Interval of checks whether the owner is alive, if the kernel cannot report its end."""


class Stopped(BaseException):
    """The step was asked to end. Not an Exception, so that no handler of errors catches it."""


def owner() -> str:
    """Return the name of this process, to be passed to the steps it starts."""
    return f"{os.getpid()} {_namespace()}"


@contextmanager
def stoppable() -> Iterator[None]:
    """End the block with Stopped on SIGTERM or when the owner dies. Call in the main thread of a process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        _end_with(os.environ.get(OWNER_VARIABLE, ""))
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGTERM, before)


def _stop(_signal: int, _frame: object) -> None:
    # Ignore further signals, which would interrupt the cleanup. If it hangs, the alarm ends the process.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.alarm(GRACE_SECONDS)
    raise Stopped


def _end_with(name: str) -> None:
    number, _, namespace = name.partition(" ")
    if not number or namespace != _namespace():
        return  # no owner is named, or the number names another process here, as in a container
    if _has_died(int(number)):  # while this process started
        raise Stopped
    threading.Thread(target=_wait, args=(int(number),), daemon=True).start()


def _wait(number: int) -> None:
    try:
        select.select([os.pidfd_open(number)], [], [])
    except ProcessLookupError:
        pass
    except (AttributeError, OSError, ValueError):
        # Old kernels and some containers do not allow this call. Poll instead.
        while not _has_died(number):
            time.sleep(SECONDS_BETWEEN_LOOKS)
    os.kill(os.getpid(), signal.SIGTERM)


def _has_died(number: int) -> bool:
    """Whether a process has ended, including a zombie that its parent has not reaped."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    try:
        state = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return state.rpartition(")")[2].split()[:1] == ["Z"]


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - a name, not a path
    except OSError:
        return ""
