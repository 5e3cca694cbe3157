"""Digests of the user's raw files, remembered by size and times, so that a touched file reruns nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from nmer.digests import file_digest, file_state
from nmer.errors import DataError
from nmer.files import write_text

MEMORY = Path("results/features/.source_digests.json")
"""File that remembers the digests of raw files."""


def source_digests(files: list[Path], memory: Path) -> dict[str, str]:
    """Return the SHA-256 of each file by path. memory: JSON file that remembers digests by the state of their files."""
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if not isinstance(known, dict):
        known = {}
    digests, changed = {}, False
    for file in files:
        # Hashed, because files in results/ must not reveal the paths of the machine that made them.
        key = hashlib.sha256(file_state(file).encode()).hexdigest()
        if key not in known:
            known[key] = file_digest(file)
            changed = True
        digests[str(file)] = known[key]
    if changed:
        write_text(memory, json.dumps(known, indent=0, sort_keys=True))
    return digests


class Unchanged:
    """Detects whether a file is replaced or changed while it is read."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._states = {file: file_state(file) for file in files}

    def check(self) -> None:
        """Raises DataError if a file has changed."""
        for file, state in self._states.items():
            try:
                same = file_state(file) == state
            except FileNotFoundError:
                same = False
            if not same:
                raise DataError(f"{file}: was changed while it was being read. Run again without changing it.")
