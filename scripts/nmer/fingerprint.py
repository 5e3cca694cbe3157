"""Digest the code that a step runs, so that Snakemake reruns exactly the jobs that an edit affects.

Only code that computes counts. Comments, layout, docstrings and the text of messages do not (:mod:`nmer.canonical` has
the list). Third-party libraries do not count either; their versions are recorded.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nmer import canonical

SCRIPTS = Path(__file__).resolve().parent.parent

ONLY_TALK = frozenset(
    f"nmer/{name}.py"
    for name in (
        "__init__",
        "canonical",
        "content",
        "ending",
        "errors",
        "fingerprint",
        "locks",
        "planned_code",
        "progress",
        "provenance",
        "training/system_checks",
    )
)
"""Modules that affect no result: public names, messages, progress, locks, provenance, checks of code and systems."""

_MOST_REMEMBERED = 5000
"""Analysed sources kept between processes: about two hundred files, in many versions."""


@dataclass(frozen=True)
class Source:
    """One source file: the digest of its canonical form and the modules that it imports."""

    digest: str
    imports: tuple[str, ...]


@cache
def fingerprint(script: str, plugins: tuple[Path, ...] = ()) -> str:
    """Digest a step script, the local modules it imports (transitively) and other files that it loads.

    script: file name in ``scripts/``. plugins: files that the step imports dynamically, and data files of the project
    that it reads. Returns 16 hexadecimal digits.
    Raises OSError if a file cannot be read and SyntaxError if one is not valid Python.
    """
    digest = hashlib.sha256()
    parts = {(_label(path), analyse(path).digest) for path in sources(script, plugins)}
    for part in sorted(part for part in parts if part[0] not in ONLY_TALK):
        digest.update("\n".join(part).encode())
    _remember()
    return digest.hexdigest()[:16]


def sources(script: str, plugins: tuple[Path, ...] = ()) -> frozenset[Path]:
    """Return the files behind a fingerprint: script, plug-ins and every local module that they import at run time."""
    return frozenset().union(*(local_imports(start.resolve()) for start in (SCRIPTS / script, *plugins)))


def local_imports(start: Path) -> frozenset[Path]:
    """Return a file and the files in ``scripts/`` it imports (transitively), without imports for type checking."""
    found, waiting = {start}, [start]
    while waiting:
        new = _imported(waiting.pop()) - found
        found |= new
        waiting += new
    return frozenset(found)


def forget() -> None:
    """Clear the caches, so that the next fingerprint reads every file again."""
    fingerprint.cache_clear()
    analyse.cache_clear()
    _imported.cache_clear()
    _files_at.cache_clear()


@cache
def analyse(path: Path) -> Source:
    """Analyse one source file. Earlier analyses are looked up by content, which takes a hundredth of the time."""
    content = path.read_bytes()
    if path.suffix != ".py":  # data: every byte counts
        return Source(hashlib.sha256(content).hexdigest(), ())
    key = hashlib.sha256(content).hexdigest()
    remembered = _remembered(SCRIPTS)
    if key not in remembered:
        form, imports = canonical.read(content)
        remembered[key] = Source(hashlib.sha256(form.encode()).hexdigest(), tuple(sorted(imports)))
        _unsaved.add(key)
    return remembered[key]


@cache
def _imported(path: Path) -> frozenset[Path]:
    """Return the local files that the imports in a file run."""
    package = path.parent.relative_to(SCRIPTS).parts if path.is_relative_to(SCRIPTS) else ()
    return frozenset(file for name in analyse(path).imports for file in _files_of(name, package))


def _files_of(name: str, package: tuple[str, ...]) -> list[Path]:
    """Return the local files that importing a dotted name runs: those of its parent packages and of the module."""
    bare = name.lstrip(".")
    level = len(name) - len(bare)
    start = package[: len(package) - level + 1] if level else ()
    parts = (*start, *filter(None, bare.split(".")))
    return [file for length in range(1, len(parts) + 1) for file in _files_at(SCRIPTS, parts[:length])]


@cache
def _files_at(scripts: Path, parts: tuple[str, ...]) -> list[Path]:
    place = scripts.joinpath(*parts)
    candidates = (place / "__init__.py", place.with_name(f"{place.name}.py"))
    return [file.resolve() for file in candidates if file.is_file()][:1]


def _label(path: Path) -> str:
    return path.relative_to(SCRIPTS).as_posix() if path.is_relative_to(SCRIPTS) else path.name


_unsaved: set[str] = set()


@cache
def _remembered(scripts: Path) -> dict[str, Source]:
    """Return the analysed sources of earlier processes by content digest; empty if they cannot be read."""
    try:
        saved = json.loads(_memory(scripts).read_text(encoding="utf-8"))
        if saved["form"] != _form():
            return {}
        return {key: Source(digest, tuple(imports)) for key, (digest, imports) in saved["sources"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def _remember() -> None:
    """Save newly analysed sources next to Python's compiled files, if that folder is writable."""
    if not _unsaved:
        return
    known = _remembered(SCRIPTS)
    kept = known if len(known) <= _MOST_REMEMBERED else {key: known[key] for key in _unsaved}
    content = {"form": _form(), "sources": {key: [source.digest, source.imports] for key, source in kept.items()}}
    memory = _memory(SCRIPTS)
    temporary = memory.with_name(f"{memory.name}.{os.getpid()}")
    with suppress(OSError):
        memory.parent.mkdir(exist_ok=True)
        try:
            temporary.write_text(json.dumps(content), encoding="utf-8")
            temporary.replace(memory)
        finally:
            temporary.unlink(missing_ok=True)
    _unsaved.clear()


def _memory(scripts: Path) -> Path:
    return scripts / "__pycache__" / "fingerprints.json"


@cache
def _form() -> str:
    """Return the digest of the code that makes canonical forms. Analyses by another version of it are discarded."""
    return hashlib.sha256(Path(canonical.__file__).read_bytes()).hexdigest()
