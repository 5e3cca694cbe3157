"""Digests of files: written next to the outputs of a step and compared by the steps that read them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from nmer.errors import DataError
from nmer.files import write_text

DIGEST_SUFFIX = ".sha256"

REMEMBERED_FROM_BYTES = 2**20
"""Smaller files are read every time, which takes no longer than looking them up."""

compared: dict[str, str] = {}
"""Digests of all inputs that this process has compared, by path."""


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file's content, as 64 hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_path(path: str | Path) -> Path:
    """Return the path of the digest file of a large output, which is next to it and in ``sha256sum`` format."""
    path = Path(path)
    return path.with_name(path.name + DIGEST_SUFFIX)


def write_digest(path: str | Path) -> None:
    """Write the digest of a file, or of every file in a folder, next to it (checked by ``sha256sum -c``).

    The files count as compared with it; see :func:`check_digests`.
    """
    path = Path(path)
    members = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    # Before reading, so that a change during it is noticed.
    states = [file_state(member) for member in members]
    stated = "".join(f"{file_digest(member)}  {member.relative_to(path.parent)}\n" for member in members)
    write_text(digest_path(path), stated)
    if _is_large(members):
        _remember(path, _memory(stated, states))


def record_path(path: str | Path) -> Path:
    """Return the path of a file's provenance record (:mod:`nmer.provenance`); a digest file has that of its file."""
    path = Path(path)
    if path.suffix == DIGEST_SUFFIX:
        path = path.with_suffix("")
    return path.with_name(f".{path.name}.made.json")


def recorded(path: str | Path) -> dict[str, Any] | None:
    """Read a file's provenance record; None if there is none or it cannot be read."""
    try:
        record = json.loads(record_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict):
        return None
    types = {"settings": dict, "inputs": dict, "outputs": list, "code": list, "step": str, "sha256": str}
    return record if all(isinstance(record[key], types[key]) for key in types.keys() & record.keys()) else None


def stated_digest(path: str | Path) -> str | None:
    """Return the digest that a file had when it was made, from its digest file or its record."""
    try:
        return digest_path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        digest = (recorded(path) or {}).get("sha256")
        return f"{digest}  {Path(path).name}\n" if digest else None
    except UnicodeDecodeError:
        return "no text"


def check_digests(*paths: str | Path | None) -> None:
    """Compare files, or all files in a folder, with the digests recorded when they were made.

    A file without a digest is not checked. A hidden file next to a large one remembers its size, times and path when it
    was made or compared; it is not read again until one of them changes. Raises DataError for a file that differs from
    the one that was made.
    """
    for path in [Path(path) for path in paths if path]:
        stated = stated_digest(path)
        if stated is None:
            continue
        compared[str(path)] = hashlib.sha256(stated.encode()).hexdigest()
        noted = digest_path(path) if digest_path(path).exists() else record_path(path)
        lines = [re.fullmatch(r"([0-9a-f]{64})  (.+)", line) for line in stated.splitlines()]
        digests = {path.parent / line[2]: line[1] for line in lines if line}
        if not digests or None in lines:
            raise DataError(
                f"{noted}: is damaged; lines of 64 hexadecimal digits, two blanks and a name are needed. "
                f"Delete it and {path}, and run again."
            )
        refusal = f"(SHA-256 in {noted}). Delete {path} and run again."
        for member in digests:
            if not member.exists():
                raise DataError(f"{member}: is missing {refusal}")
        memory, large = _memory(stated, map(file_state, digests)), _is_large(digests)
        if large and _remembered(path) == memory.encode():
            continue
        for member, digest in digests.items():
            if file_digest(member) != digest:
                raise DataError(f"{member}: is damaged or was changed after it was made {refusal}")
        if large:
            _remember(path, memory)


def file_state(path: Path) -> str:
    """Return the path, size and times of a file, which change when it is modified, replaced or moved."""
    # Include ctime, because copies can preserve mtime but not ctime.
    state = path.stat()
    return f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}|{state.st_ctime_ns}"


def _is_large(members: Iterable[Path]) -> bool:
    return sum(member.stat().st_size for member in members) >= REMEMBERED_FROM_BYTES


def _memory(stated: str, states: Iterable[str]) -> str:
    """Return what is remembered of compared files. Hashed, because files in results/ must not reveal the paths of the
    machine that made them."""
    return hashlib.sha256("\n".join([stated, *states]).encode()).hexdigest() + "\n"


def _memory_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.checked")


def _remembered(path: Path) -> bytes:
    try:
        return _memory_path(path).read_bytes()
    except OSError:
        return b""


def _remember(path: Path, memory: str) -> None:
    # In a read-only folder the files are compared every time.
    with suppress(OSError):
        write_text(_memory_path(path), memory)
