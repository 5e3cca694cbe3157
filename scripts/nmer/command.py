"""The shared command line of the step scripts: settings from one JSON string, one clear message for a user's error."""

from __future__ import annotations

import argparse
import atexit
import gc
import io
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Protocol, TypeVar

from nmer import fingerprint, planned_code, provenance
from nmer.ending import Stopped, stoppable
from nmer.errors import NO_GPU_MEMORY, NO_MEMORY, ConfigError, NmerError, nearest, sentence


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


# A process started from a notebook inherits the notebook's backend, which does not exist here.
os.environ["MPLBACKEND"] = "agg"

GPU_MEMORY = r"(CUDA|HIP)( error:)? out of memory|CU(BLAS|DNN|SPARSE|SOLVER|FFT)_STATUS_ALLOC_FAILED"
"""Messages of torch when GPU memory runs out: from its allocator, the driver, or a kernel library."""

Settings = TypeVar("Settings", bound=_Dataclass)


def parser(description: str, planned: bool = True) -> argparse.ArgumentParser:
    """Create an argument parser whose description is the step's docstring.

    planned: whether the program is a step of the workflow, which receives the fingerprint of its code.
    """
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if planned:
        made.add_argument(
            planned_code.OPTION, default="", help="code fingerprint of the plan; the step refuses to run any other code"
        )
    return made


def settings(text: str, option: str = "--settings") -> dict[str, Any]:
    """Parse an argument that holds a JSON object. Raises ConfigError, naming the option, if it does not."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{option} is not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise ConfigError(f'{option} must be a JSON object, e.g. \'{{"dataset": "mosi"}}\'.')
    return value


def fill(cls: type[Settings], mapping: dict[str, Any], where: str = "settings") -> Settings:
    """Create a dataclass from a JSON object. Raises ConfigError for an unknown or a missing key."""
    known = {item.name: item for item in fields(cls)}
    for key in mapping:
        if key not in known:
            raise ConfigError(f"{where}: unknown key '{key}'. {nearest(key, known)}")
    for key, item in known.items():
        if key not in mapping and item.default is MISSING and item.default_factory is MISSING:
            raise ConfigError(f"{where}: missing key '{key}'. Add it.")
    return cls(**mapping)


def run(main: Callable[[], None]) -> None:
    """Run a step. For a user's error or a signal, print one line and exit with status 1 or that of the signal."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # characters that a terminal cannot print must not raise
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
    # Otherwise the interpreter searches all objects of the imported libraries for garbage before it exits.
    atexit.register(gc.freeze)
    try:
        with stoppable():
            planned_code.confirm()  # the modules imported so far
            main()
            provenance.write(sys.argv)
    except (NmerError, OSError) as error:
        _end(sentence(error))
    except (MemoryError, RuntimeError) as error:
        # torch reports both kinds of memory only in the text of a RuntimeError.
        if not isinstance(error, MemoryError) and re.search(GPU_MEMORY, str(error)):
            _end(NO_GPU_MEMORY)
        if not isinstance(error, MemoryError) and not re.search("(allocate|out of) memory", str(error)):
            raise
        _end(NO_MEMORY)
    except Stopped:
        _end(
            "stopped by SIGTERM, or because the process that started it ended. Run again to resume.",
            status=128 + signal.SIGTERM,
        )
    except KeyboardInterrupt:
        _end("stopped by Ctrl-C. Run again to resume.", status=128 + signal.SIGINT)


def _begin() -> None:
    """Check the code of a step before it imports more modules; report changed code in one line, not a traceback."""
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


_program = Path(sys.argv[0]).resolve()
if _program.parent == fingerprint.SCRIPTS and _program.is_file():
    # A step that imports its libraries, whose objects are no garbage. run() resumes the collection.
    gc.disable()

if planned_code.OPTION in sys.argv:
    _begin()
