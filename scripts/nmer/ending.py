"""How a step ends before its time: when it is asked to, or when the process that it works for has died.

A killed Snakemake leaves its steps running, and they would go on writing where the next call writes too. So a step
watches the process that started the work and ends with it. However it ends, its temporary files go.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

OWNER_VARIABLE = "NMER_OWNER"
"""Environment variable that names the process which steps work for, as :func:`owner` writes it."""

GRACE_SECONDS = 20
"""Time to tidy up after being asked to end; schedulers kill after 30 seconds."""


class Stopped(BaseException):
    """The step was asked to end. Not an Exception, so that nothing takes it for a fault that can be handled."""


def owner() -> str:
    """The name of this process, to be given to the steps that work for it."""
    return f"{os.getpid()} {_namespace()}"


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM, and the death of the owner, end the block with Stopped. For the main thread of a process."""
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
    # Once is enough: a second signal would interrupt the tidying up. Should it hang, the alarm ends the process.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.alarm(GRACE_SECONDS)
    raise Stopped


def _end_with(name: str) -> None:
    number, _, namespace = name.partition(" ")
    if not number or namespace != _namespace() or not hasattr(os, "pidfd_open"):
        return  # nobody is named, or the number means another process here, as in a container
    try:
        process = os.pidfd_open(int(number))
    except ProcessLookupError:  # it died while this process started
        raise Stopped from None
    threading.Thread(target=_wait, args=(process,), daemon=True).start()


def _wait(process: int) -> None:
    select.select([process], [], [])
    os.kill(os.getpid(), signal.SIGTERM)


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - no path, but a name
    except OSError:
        return ""
