"""Turn errors in the content of files into messages that name file, key and split, the fault and the remedy."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nmer.errors import DataError

_OF_CONTENT = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


@contextmanager
def converting(place: str | Path, needed: str) -> Iterator[None]:
    """Turn an error in the block, which converts the content of a file, into a DataError.

    place: the file and, within it, key and split. needed: the required content or the remedy, as full sentences.
    """
    try:
        yield
    except _OF_CONTENT as error:
        raise DataError(f"{place}: {reason(error)}. {needed}") from None


def reason(error: Exception) -> str:
    """Return the message of an error on one line, without a final full stop."""
    if isinstance(error, KeyError) and error.args:
        return f"has no '{error.args[0]}'"
    return (" ".join(str(error).split()) or type(error).__name__).rstrip(".")


def unreadable(path: str | Path, error: Exception, otherwise: str) -> DataError:
    """Return the error for an HDF5 file that cannot be opened or read. otherwise: the message unless another program
    locks the file, with ``{reason}`` for the cause."""
    if isinstance(error, OSError) and error.errno in (errno.EAGAIN, errno.EWOULDBLOCK):
        return DataError(f"{path}: is locked by another program that has it open. Close it there and run again.")
    return DataError(f"{path}: {otherwise.format(reason=reason(error))}")
