"""Report the progress of a long step on standard error: a bar in a terminal, occasional lines in a log file.

Short steps report nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

TERMINAL_DELAY_SECONDS = 1.0
"""Delay before the bar appears."""

LOG_INTERVAL_SECONDS = 10.0
"""Time between two lines in a log file, and before the first."""

LOG_LINE = (
    "{desc}: {percentage:.0f} % ({n_fmt}{unit} of {total_fmt}{unit}) after {elapsed}, {remaining} to go, {rate_fmt}"
)


@contextmanager
def progress(label: str, total: int, unit: str = "B") -> Iterator[Callable[[int], object]]:
    """Yield a function to be called with the number of bytes done since its last call, of ``total``.

    label: e.g. "features of iemocap". unit: counted unit if not bytes, e.g. " files".
    """
    if sys.stderr.isatty():
        with tqdm(desc=label, total=total, unit=unit, unit_scale=unit == "B", delay=TERMINAL_DELAY_SECONDS) as bar:
            yield bar.update
    else:
        yield _LogLines(label, total, unit).update


class _LogLines:
    """Prints a line of progress at most every ``LOG_INTERVAL_SECONDS``."""

    def __init__(self, label: str, total: int, unit: str) -> None:
        self._label, self._total, self._unit, self._done = label, total, unit, 0
        self._started = self._said = time.monotonic()

    def update(self, amount: int) -> None:
        self._done += amount
        now = time.monotonic()
        if now - self._said >= LOG_INTERVAL_SECONDS:
            self._said = now
            units = {"unit": self._unit, "unit_scale": self._unit == "B", "bar_format": LOG_LINE}
            line = tqdm.format_meter(self._done, self._total, now - self._started, prefix=self._label, **units)
            print(line, file=sys.stderr, flush=True)
