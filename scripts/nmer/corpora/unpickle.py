"""Safe reading of pickles of NumPy arrays and plain containers, without executing anything.

CMU-MOSEI and CMU-MOSI are distributed as pickles, and a pickle can call any function. Here no name resolves to a real
function: the few names in NumPy's pickles resolve to stand-ins that only store data and become arrays at the end. All
other names are refused. The project reads pickles nowhere else.

A dictionary entry that is not plain data, such as an array of Python objects, is refused only when it is used, because
readers ignore most entries.
"""

from __future__ import annotations

import math
import pickle
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from nmer.errors import DataError

PLAIN_KINDS = "biufSU"
"""Kinds of NumPy types without Python objects: booleans, integers, floats, bytes, text."""

LARGEST_EMPTY = 10**7
"""Largest array of empty text, whose declared shape cannot be checked against its content."""


def load_pickle(path: str | Path, limit_bytes: int) -> object:
    """Read dicts, lists, tuples, sets, text, bytes, numbers and NumPy arrays of them.

    limit_bytes: size above which the file is refused. Arrays may be read-only. Text of Python 2 is read as Latin-1. In
    dictionaries, :class:`Unreadable` replaces entries of other types.
    Raises DataError if the file is missing, too large, damaged, or contains anything else.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > limit_bytes:
            raise DataError(f"{path}: {size} bytes, more than the limit of {limit_bytes}; refused.")
        with path.open("rb") as stream:
            _check_memory(stream)
            stream.seek(0)
            return _plain(_Unpickler(stream, encoding="latin1").load(), {})
    except _RefusedError as refusal:
        raise DataError(f"{path}: {refusal}; refused. Use the corpus' original file.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Correct the dataset's path.") from None
    except DataError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: damaged pickle ({reason}). Download the file again.") from None


def _check_memory(stream: BinaryIO) -> None:
    """Refuse memo indices beyond the number of objects: the unpickler would allocate gigabytes for a tiny file."""
    for count, (opcode, argument, _position) in enumerate(pickletools.genops(stream)):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and isinstance(argument, int) and argument > count:
            raise _RefusedError("has invalid memo indices")


@dataclass(frozen=True)
class Unreadable:
    """Placeholder for a dictionary entry that is not plain data. reason: follows the name of the entry in messages."""

    reason: str


class _RefusedError(Exception):
    """The pickle contains something that is not plain data."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise _RefusedError(f"refers to {module}.{name}") from None

    def persistent_load(self, _identity: object) -> object:
        raise _RefusedError("refers to an object outside the file")


class _Call:
    """A stand-in for a function. A pickle cannot change its state."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function

    def __call__(self, *arguments: object) -> object:
        return self._function(*arguments)

    def __setstate__(self, _state: object) -> None:
        raise _RefusedError("sets the state of a function")


class _Type:
    """A stand-in for ``numpy.dtype``: its code and byte order."""

    __slots__ = ("code", "order", "structured")

    def __init__(self, code: object, *_align_and_copy: object) -> None:
        self.code = code
        self.order: Literal["<", ">", "|", "="] = "|"
        self.structured = False

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]
        self.structured = any(part is not None for part in state[2:5])

    def dtype(self) -> np.dtype:
        if self.structured:
            raise _RefusedError("holds a structured array")
        if not isinstance(self.code, str) or self.order not in ("<", ">", "|", "="):
            raise _RefusedError("holds an array of unknown type")
        dtype = np.dtype(self.code)
        if dtype.kind not in PLAIN_KINDS and dtype.kind != "O":
            raise _RefusedError(f"holds an array of type {dtype}")
        return dtype if self.order == "|" else dtype.newbyteorder(self.order)


class _Array:
    """A stand-in for ``numpy.ndarray``: the state set by its pickle."""

    __slots__ = ("state",)

    def __init__(self, *_prototype: object) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def array(self) -> np.ndarray:
        _version, shape, kind, fortran, content = self.state
        order: Literal["C", "F"] = "F" if fortran else "C"
        if kind.dtype().kind == "O":
            return _array_of_text(content).reshape(shape, order=order)
        return _from_bytes(content, kind, shape, order)


def _array_of_text(content: object) -> np.ndarray:
    """Convert an array of objects, allowed if every object is text or bytes (identifiers)."""
    if not isinstance(content, list) or not all(isinstance(item, str | bytes) for item in content):
        raise _RefusedError("holds an array of Python objects other than text")
    return np.array([item.decode("latin1") if isinstance(item, bytes) else item for item in content], dtype=np.str_)


def _from_bytes(
    content: str | bytes, kind: _Type, shape: tuple[int, ...], order: Literal["C", "F"] = "C"
) -> np.ndarray:
    dtype = kind.dtype()
    if dtype.kind == "O":
        raise _RefusedError("holds an array of Python objects")
    raw = content.encode("latin1") if isinstance(content, str) else content  # Python 2 wrote bytes as text
    if dtype.itemsize == 0:  # an array of empty text, which still allocates memory
        if math.prod(shape) > LARGEST_EMPTY:
            raise _RefusedError(f"contains {math.prod(shape)} empty texts")
        return np.zeros(shape, dtype)
    return np.frombuffer(raw, dtype).reshape(shape, order=order)


def _scalar(kind: _Type, content: str | bytes) -> object:
    try:
        return _from_bytes(content, kind, (1,))[0]
    except _RefusedError as refusal:
        return Unreadable(str(refusal))


def _frombuffer(
    content: str | bytes, kind: _Type, shape: tuple[int, ...], order: Literal["C", "F"] = "C"
) -> np.ndarray | Unreadable:
    """Restore an array written with protocol 5."""
    try:
        return _from_bytes(content, kind, shape, order)
    except _RefusedError as refusal:
        return Unreadable(str(refusal))


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Restore bytes written with protocol 2."""
    if encoding not in ("latin1", "latin-1"):
        raise _RefusedError(f"uses the encoding {encoding}")
    return text.encode("latin1")


def _empty_bytes() -> bytes:
    """Restore empty bytes written with protocol 2."""
    return b""


def _stand_ins() -> dict[tuple[str, str], object]:
    names = {
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Type,
        ("_codecs", "encode"): _Call(_encode),
        ("__builtin__", "bytes"): _Call(_empty_bytes),
        ("collections", "OrderedDict"): dict,
        ("builtins", "set"): set,
        ("__builtin__", "set"): set,
        ("builtins", "frozenset"): frozenset,
    }
    for package in ("numpy.core", "numpy._core"):  # before and since NumPy 2
        names[f"{package}.multiarray", "_reconstruct"] = _Call(_Array)
        names[f"{package}.multiarray", "scalar"] = _Call(_scalar)
        names[f"{package}.numeric", "_frombuffer"] = _Call(_frombuffer)
    return names


_STAND_INS = _stand_ins()


def _plain(value: object, seen: dict[int, object]) -> object:
    """Replace all stand-ins in a value. ``seen`` ensures that shared containers are converted once."""
    if isinstance(value, _Array):
        return value.array()
    if isinstance(value, Unreadable):
        raise _RefusedError(value.reason)
    if isinstance(value, _Type | _Call | type):
        raise _RefusedError("holds a function or type")
    if not isinstance(value, dict | list | tuple):
        return value
    if id(value) not in seen:
        if isinstance(value, dict):
            seen[id(value)] = {key: _entry(item, seen) for key, item in value.items()}
        else:
            seen[id(value)] = type(value)(_plain(item, seen) for item in value)
    return seen[id(value)]


def _entry(value: object, seen: dict[int, object]) -> object:
    try:
        return _plain(value, seen)
    except _RefusedError as refusal:
        return Unreadable(str(refusal))
    except Exception as error:  # damage matters only if a reader uses the entry
        return Unreadable(f"is damaged ({' '.join(str(error).split()) or type(error).__name__})")
