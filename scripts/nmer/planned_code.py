"""Refuse to compute or to write results if the code changed since the run was planned.

Snakemake plans a run once. Its jobs start minutes or days later and run the code that is on disk then. So the plan
passes the fingerprint of its code to every step. The step compares it when it starts, before it imports more of the
package, and again before it renames an output.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from nmer import fingerprint
from nmer.errors import CodeError

OPTION = "--code"
"""Argument of every step; its value is returned by :func:`hand_over`."""

WORKFLOW = fingerprint.SCRIPTS.parent / "workflow"
"""Folder of rules, schemas and the paper's numbers."""

_State = tuple[int, int, int, int] | None


@dataclass
class _Planned:
    script: str
    plugins: tuple[Path, ...]
    digest: str
    states: dict[Path, _State] = field(default_factory=dict)
    verified: set[Path] = field(default_factory=set)
    """Files of modules that were loaded while unchanged since the plan."""


_planned: _Planned | None = None


def hand_over(script: str, plugins: Iterable[Path] = ()) -> str:
    """Return the fingerprint of a step's code, its plug-ins and the project's data that it reads, as one argument.

    The argument is a JSON list of the digest and the files; files of the project are relative to ``scripts/``.
    """
    files = tuple(plugins)
    return json.dumps([fingerprint.fingerprint(script, files), *map(_name, files)])


def _name(file: Path) -> str:
    own = any(file.is_relative_to(folder) for folder in (fingerprint.SCRIPTS, WORKFLOW))
    return Path(os.path.relpath(file, fingerprint.SCRIPTS)).as_posix() if own else str(file)


def begin(arguments: list[str]) -> None:
    """Compare the code of a step with the fingerprint in its arguments (``sys.argv``), if there is one.

    Raises CodeError if it differs.
    """
    global _planned
    _planned = None
    if OPTION not in arguments[:-1]:
        return
    try:
        digest, *named = json.loads(arguments[arguments.index(OPTION) + 1])
    except (ValueError, TypeError):
        raise CodeError(f"{OPTION}: not the fingerprint of a plan. Leave it out to run a step individually.") from None
    plugins = tuple(path if (path := fingerprint.SCRIPTS / name).is_file() else Path(name) for name in named)
    planned = _Planned(Path(arguments[0]).name, plugins, digest)
    # Record states first, so that the next comparison detects changes made while the files are read.
    planned.states = {path: _state(path) for path in _files(planned)}
    _compare(planned)
    _planned = planned


def confirm(loaded: Path | None = None) -> None:
    """Compare again, reading only files touched since. Does nothing for a step without a fingerprint.

    loaded: a file that was just loaded and is not an importable module. Raises CodeError if the code differs, or if a
    module was loaded while its file was being changed.
    """
    if _planned is None:
        return
    states = {path: _state(path) for path in _planned.states}
    touched = {path for path, state in states.items() if state != _planned.states[path]}
    new = _loaded() - _planned.verified | ({loaded.resolve()} if loaded else set())
    if touched:
        fingerprint.forget()
        _compare(_planned)
        if touched & new:
            raise _changed(_planned, touched & new)
        _planned.states = states
    _planned.verified |= new


def describe(error: BaseException) -> str | None:
    """Return the message to print instead of a traceback if code failed to load because it changed; otherwise None."""
    if _planned is None or not isinstance(error, ImportError | SyntaxError | AttributeError | NameError):
        return None
    try:
        confirm()
    except CodeError as refusal:
        return str(refusal)
    return None


def _compare(planned: _Planned) -> None:
    try:
        same = fingerprint.fingerprint(planned.script, planned.plugins) == planned.digest
    except (OSError, SyntaxError, ValueError):
        same = False
    if not same:
        raise _changed(planned)


def _changed(planned: _Planned, files: Iterable[Path] = ()) -> CodeError:
    where = ", ".join(sorted(path.name for path in files)) or f"scripts/{planned.script} or what it imports"
    return CodeError(f"{where}: the code changed since the run was planned. Run again.")


def _files(planned: _Planned) -> frozenset[Path]:
    try:
        return fingerprint.sources(planned.script, planned.plugins)
    except (OSError, SyntaxError, ValueError):
        raise _changed(planned) from None


def _loaded() -> set[Path]:
    # torch loads thousands of modules: compare texts, not paths.
    folder = f"{fingerprint.SCRIPTS}{os.sep}"
    files = (getattr(module, "__file__", None) for module in [*sys.modules.values()])
    return {Path(file) for file in files if file and file.startswith(folder)}


def _state(path: Path) -> _State:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
