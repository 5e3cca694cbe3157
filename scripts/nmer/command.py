"""What every step script shares: settings from one JSON string, one clear message on a user's error."""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from types import TracebackType
from typing import Any, ClassVar, Protocol, TypeVar

from nmer import planned_code, provenance
from nmer.ending import Stopped, stoppable
from nmer.errors import NO_GPU_MEMORY, NO_MEMORY, ConfigError, NmerError, nearest, sentence


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


# A notebook's, inherited by what it starts, exists only there.
os.environ["MPLBACKEND"] = "agg"

GPU_MEMORY = r"(CUDA|HIP)( error:)? out of memory|CU(BLAS|DNN|SPARSE|SOLVER|FFT)_STATUS_ALLOC_FAILED"
"""How torch reports that a GPU's memory is used up: its allocator, the driver, or a library of kernels."""

Settings = TypeVar("Settings", bound=_Dataclass)


def parser(description: str, planned: bool = True) -> argparse.ArgumentParser:
    """An argument parser whose description is the step's docstring.

    planned: whether the program is a step of the workflow, which is handed the fingerprint of its code.
    """
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if planned:
        made.add_argument(
            planned_code.OPTION, default="", help="the code that the run was planned with; any other is refused"
        )
    return made


def settings(text: str, option: str = "--settings") -> dict[str, Any]:
    """Parse an argument that holds a JSON object. Raises ConfigError, naming the option, if it is none."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{option} is not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise ConfigError(f'{option} must be a JSON object, e.g. \'{{"dataset": "mosi"}}\'.')
    return value


def fill(cls: type[Settings], mapping: dict[str, Any], where: str = "settings") -> Settings:
    """A dataclass filled from a JSON object. Raises ConfigError for an unknown or a missing key."""
    known = {item.name: item for item in fields(cls)}
    for key in mapping:
        if key not in known:
            raise ConfigError(f"{where}: unknown key '{key}'. {nearest(key, known)}")
    for key, item in known.items():
        if key not in mapping and item.default is MISSING and item.default_factory is MISSING:
            raise ConfigError(f"{where}: missing key '{key}'. Add it.")
    return cls(**mapping)


def run(main: Callable[[], None]) -> None:
    """Run a step; an error that a user can cause, or being asked to end, is said in one line. Exit status 1, or as for
    the signal."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # whatever a terminal cannot show stops nothing
    try:
        with stoppable():
            planned_code.confirm()  # what was imported until here
            main()
            provenance.write(sys.argv)
    except (NmerError, OSError) as error:
        _end(sentence(error))
    except (MemoryError, RuntimeError) as error:
        # torch reports both in the text of a RuntimeError.
        if not isinstance(error, MemoryError) and re.search(GPU_MEMORY, str(error)):
            _end(NO_GPU_MEMORY)
        if not isinstance(error, MemoryError) and not re.search("(allocate|out of) memory", str(error)):
            raise
        _end(NO_MEMORY)
    except Stopped:
        _end("stopped by SIGTERM, or with the process it worked for. Run again to go on.", status=128 + signal.SIGTERM)
    except KeyboardInterrupt:
        _end("stopped by Ctrl-C. Run again to go on.", status=128 + signal.SIGINT)


def _begin() -> None:
    """Check the code of a step before it imports more of it; refuse in one line, also where that import then fails."""
    try:
        planned_code.begin(sys.argv)
    except NmerError as error:
        _end(str(error))

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        refusal = planned_code.describe(error)
        if refusal:
            print(f"error: {refusal}", file=sys.stderr)
        else:
            sys.__excepthook__(kind, error, trace)

    sys.excepthook = show


def _end(sentence: str, status: int = 1) -> None:
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(status)


if planned_code.OPTION in sys.argv:
    _begin()
