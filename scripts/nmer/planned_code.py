"""Refuse to compute, or to write results, with other code than the run was planned with.

Snakemake plans a run once; its jobs start minutes or days later and run what is on disk then. So the plan hands every
step the fingerprint of its code. The step compares it when it starts, before it imports anything else of ours, and
again before it renames an output.
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
"""Argument of every step: what :func:`hand_over` returns."""

WORKFLOW = fingerprint.SCRIPTS.parent / "workflow"
"""Rules, schemas and the paper's numbers."""

_State = tuple[int, int, int, int] | None


@dataclass
class _Planned:
    script: str
    plugins: tuple[Path, ...]
    digest: str
    states: dict[Path, _State] = field(default_factory=dict)
    verified: set[Path] = field(default_factory=set)
    """Files of modules that were loaded while their files were as planned."""


_planned: _Planned | None = None


def hand_over(script: str, plugins: Iterable[Path] = ()) -> str:
    """The fingerprint of a step's code, its plug-ins and the project's data that it reads, as one argument.

    Returns a JSON list of the digest and the files, the project's own as seen from ``scripts/``.
    """
    files = tuple(plugins)
    return json.dumps([fingerprint.fingerprint(script, files), *map(_name, files)])


def _name(file: Path) -> str:
    own = any(file.is_relative_to(folder) for folder in (fingerprint.SCRIPTS, WORKFLOW))
    return Path(os.path.relpath(file, fingerprint.SCRIPTS)).as_posix() if own else str(file)


def begin(arguments: list[str]) -> None:
    """Compare the code of a step with that of the plan, if its arguments (``sys.argv``) hold one.

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
    # States first: what changes while the files are read is noticed by the next comparison.
    planned.states = {path: _state(path) for path in _files(planned)}
    _compare(planned)
    _planned = planned


def confirm(loaded: Path | None = None) -> None:
    """Compare again, reading only what was touched since. Does nothing for a step that was handed no fingerprint.

    loaded: a file that was loaded just now and that is no importable module. Raises CodeError if the code differs, or
    if a module was loaded while its file was being changed.
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
    """The refusal to print instead of a traceback where code cannot be loaded because it changed; None elsewhere."""
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
    files = (getattr(module, "__file__", None) for module in [*sys.modules.values()])
    return {Path(file) for file in files if file and Path(file).is_relative_to(fingerprint.SCRIPTS)}


def _state(path: Path) -> _State:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
