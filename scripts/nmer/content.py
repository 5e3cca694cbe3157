"""What a file holds is converted under one guard: a fault names file, key and split, what was found, what is needed."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nmer.errors import DataError

_OF_CONTENT = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


@contextmanager
def converting(place: str | Path, needed: str) -> Iterator[None]:
    """Turn an error of the block, which converts what a file holds, into one DataError.

    place: the file and, within it, key and split. needed: what must be there, or what to do, as whole sentences.
    """
    try:
        yield
    except _OF_CONTENT as error:
        raise DataError(f"{place}: {reason(error)}. {needed}") from None


def reason(error: Exception) -> str:
    """What an error says, in one line without a final stop."""
    if isinstance(error, KeyError) and error.args:
        return f"has no '{error.args[0]}'"
    return (" ".join(str(error).split()) or type(error).__name__).rstrip(".")


def unreadable(path: str | Path, error: Exception, otherwise: str) -> DataError:
    """The error of an HDF5 file that cannot be opened or read. otherwise: what is said unless another program locks it,
    with ``{reason}`` in the place of the cause."""
    if isinstance(error, OSError) and error.errno in (errno.EAGAIN, errno.EWOULDBLOCK):
        return DataError(f"{path}: is locked by another program that has it open. Close it there and run again.")
    return DataError(f"{path}: {otherwise.format(reason=reason(error))}")
