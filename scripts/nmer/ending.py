"""How a step ends before its time: when it is asked to, or when the process that it works for has died.

A killed Snakemake leaves its steps running, and they would go on writing where the next call writes too. So a step
watches the process that started the work and ends with it. However it ends, its temporary files go.
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
"""Environment variable that names the process which steps work for, as :func:`owner` writes it."""

GRACE_SECONDS = 20
"""Time to tidy up after being asked to end; schedulers kill after 30 seconds."""


SECONDS_BETWEEN_LOOKS = 1.0
"""How often is looked whether the process still lives, where the kernel cannot report its end."""


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
    if not number or namespace != _namespace():
        return  # nobody is named, or the number means another process here, as in a container
    if _has_died(int(number)):  # while this process started
        raise Stopped
    threading.Thread(target=_wait, args=(int(number),), daemon=True).start()


def _wait(number: int) -> None:
    try:
        select.select([os.pidfd_open(number)], [], [])
    except ProcessLookupError:
        pass
    except (AttributeError, OSError, ValueError):
        # Old kernels and the filters of some containers have no such call, which is no reason not to run.
        while not _has_died(number):
            time.sleep(SECONDS_BETWEEN_LOOKS)
    os.kill(os.getpid(), signal.SIGTERM)


def _has_died(number: int) -> bool:
    """Whether a process is gone, or is dead and only waited for by its parent."""
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
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - no path, but a name
    except OSError:
        return ""
