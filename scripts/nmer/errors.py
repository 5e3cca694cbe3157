"""Errors that a user can cause. Each has one message: what is wrong, in which file or key, and what to do."""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable

REMEDIES = {
    errno.ENOSPC: "Free disk space and run again; finished results are kept.",
    errno.EDQUOT: "Free space in your quota and run again; finished results are kept.",
    errno.EROFS: "Make the folder writable, or work in a copy elsewhere, and run again.",
    errno.EACCES: "Set the permissions (chmod, chown) and run again.",
    errno.EPERM: "Set the permissions (chmod, chown) and run again.",
    errno.EMFILE: "Allow more open files (ulimit -n) and run again.",
}
"""Remedies for errors of the operating system."""

NO_MEMORY = (
    "not enough memory. Run fewer jobs at once (--cores) or raise the limit (ulimit -v, or the scheduler's), and run "
    "again."
)

NO_GPU_MEMORY = (
    "not enough GPU memory. Let fewer jobs share a GPU (a smaller N in --resources gpu=N), end other programs that use "
    "it, or set a smaller training.batch_size, which changes the results. Then run again."
)


class NmerError(Exception):
    """An error whose message is written for the user; steps print it without a traceback, in one line."""

    def __init__(self, message: str) -> None:
        # Names and texts quoted from the user's files may contain line breaks.
        super().__init__(r"\n".join(message.splitlines()))


class ConfigError(NmerError):
    """A key of the configuration is unknown, missing or has an invalid value."""


class DataError(NmerError):
    """A file of features, noise, models or scores is missing, damaged or contradicts another."""


class CodeError(NmerError):
    """The code of a step is not the code that the run was planned with."""


class TrainingError(NmerError):
    """A training cannot continue, e.g. because its loss is not finite."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a sentence that suggests the nearest known name, or lists all of them, for a misspelt name."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"Did you mean '{close[0]}'?"
    return f"Known names: {', '.join(known)}." if known else "There are none."


def listed(first: Iterable[object], count: int) -> str:
    """Join the first of ``count`` names with commas, and mark by an ellipsis that there are more."""
    names = [str(name) for name in first]
    return ", ".join(names + ["…"] * (count > len(names)))


def sentence(error: Exception) -> str:
    """Return one sentence for an error; for an error of the operating system, with file, fault and remedy."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    # HDF5 replaces the system's message with a page of its internals.
    number = error.errno
    said = f"{os.strerror(number)}. {REMEDIES[number]}" if number in REMEDIES else f"{error.strerror}."
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{said}"
