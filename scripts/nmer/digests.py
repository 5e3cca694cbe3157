"""Digests of files: written beside what a step makes, and compared by the steps that read it."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from pathlib import Path

from nmer.errors import DataError
from nmer.files import write_text

DIGEST_SUFFIX = ".sha256"


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's content, as 64 hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_path(path: str | Path) -> Path:
    """Where the digest of a large output stands: beside it, in ``sha256sum`` format."""
    path = Path(path)
    return path.with_name(path.name + DIGEST_SUFFIX)


def write_digest(path: str | Path) -> None:
    """Write the digest of a file, or of every file of a folder, beside it (checked by ``sha256sum -c``)."""
    path = Path(path)
    members = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    lines = [f"{file_digest(member)}  {member.relative_to(path.parent)}\n" for member in members]
    write_text(digest_path(path), "".join(lines))


def check_digests(*paths: str | Path | None) -> None:
    """Compare files, or all files of a folder, with the digests beside them; those without one are not checked.

    What was compared is not read again while size, times and place on the disk of all of it stay the same: a hidden
    file beside it remembers them. Raises DataError for a file that is not the one that was made.
    """
    for path in [Path(path) for path in paths if path]:
        try:
            stated = digest_path(path).read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
        except UnicodeDecodeError:
            stated = "no text"
        lines = [re.fullmatch(r"([0-9a-f]{64})  (.+)", line) for line in stated.splitlines()]
        digests = {path.parent / line[2]: line[1] for line in lines if line}
        if not digests or None in lines:
            raise DataError(
                f"{digest_path(path)}: is damaged; lines of 64 hexadecimal digits, two blanks and a name are needed. "
                f"Delete it and {path}, and run again."
            )
        refusal = f"(SHA-256 in {digest_path(path)}). Delete {path} and run again."
        for member in digests:
            if not member.exists():
                raise DataError(f"{member}: is missing {refusal}")
        memory, state = path.with_name(f".{path.name}.checked"), "\n".join([stated, *map(file_state, digests)])
        # Hashed, for what lies in results/ shall not say where on whose disk it was made.
        state = hashlib.sha256(state.encode()).hexdigest() + "\n"
        if _remembered(memory) == state.encode():
            continue
        for member, digest in digests.items():
            if file_digest(member) != digest:
                raise DataError(f"{member}: is damaged, or was changed after it was made {refusal}")
        # Where nothing can be written it is compared every time.
        with suppress(OSError):
            write_text(memory, state)


def file_state(path: Path) -> str:
    """What changes when a file is changed, replaced or moved: its place, size and times."""
    # The time of the last change too (ctime): a copy that keeps the other time does not keep this one.
    state = path.stat()
    return f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}|{state.st_ctime_ns}"


def _remembered(memory: Path) -> bytes:
    try:
        return memory.read_bytes()
    except OSError:
        return b""
