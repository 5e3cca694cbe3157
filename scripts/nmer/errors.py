"""The errors a user can cause. Each carries one message: what is wrong, in which file or key, what to do."""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable

REMEDIES = {
    errno.ENOSPC: "Make room and run again: what is finished is kept.",
    errno.EDQUOT: "Make room in your quota and run again: what is finished is kept.",
    errno.EROFS: "Let the folder be written to, or work in a copy elsewhere, and run again.",
    errno.EACCES: "Give yourself the permission (chmod, chown) and run again.",
    errno.EPERM: "Give yourself the permission (chmod, chown) and run again.",
    errno.EMFILE: "Allow more open files (ulimit -n) and run again.",
}
"""What to do about an error of the operating system."""

NO_MEMORY = (
    "not enough memory. Run fewer jobs at once (--cores), or raise the limit (ulimit -v, or the scheduler's); then run "
    "again."
)

NO_GPU_MEMORY = (
    "not enough GPU memory. Let fewer jobs share a GPU (a smaller N in --resources gpu=N), end other programs that use "
    "it, or set a smaller training.batch_size, which changes the results; then run again."
)


class NmerError(Exception):
    """An error whose message is written for the user; steps print it without a traceback."""


class ConfigError(NmerError):
    """A key of the configuration is unknown, missing or has an impossible value."""


class DataError(NmerError):
    """A file of features, noise, models or scores is missing, damaged or contradicts another."""


class CodeError(NmerError):
    """The code of a step is not the code that the run was planned with."""


class TrainingError(NmerError):
    """A training cannot go on, e.g. because its loss is not finite."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence naming the nearest known name, or all of them: for messages about a misspelt name."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"Did you mean '{close[0]}'?"
    return f"Known names: {', '.join(known)}." if known else "There is none to choose from."


def sentence(error: Exception) -> str:
    """One sentence for an error; for one of the operating system the file, what is wrong and what to do."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    # HDF5 puts a page of its internals in the place of the system's own words.
    number = error.errno
    said = f"{os.strerror(number)}. {REMEDIES[number]}" if number in REMEDIES else f"{error.strerror}."
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{said}"
