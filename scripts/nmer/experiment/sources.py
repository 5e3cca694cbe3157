"""Digests of the user's raw files, remembered by size and time, so that a touched file reruns nothing."""

from __future__ import annotations

import json
from pathlib import Path

from nmer.files import file_digest, write_text


def source_digests(files: list[Path], memory: Path) -> dict[str, str]:
    """SHA-256 of each file by its path. memory: JSON file that remembers digests by size and modification time."""
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    digests, changed = {}, False
    for file in files:
        state = file.stat()
        key = f"{file.resolve()}|{state.st_size}|{state.st_mtime_ns}"
        if key not in known:
            known[key] = file_digest(file)
            changed = True
        digests[str(file)] = known[key]
    if changed:
        write_text(memory, json.dumps(known, indent=0, sort_keys=True))
    return digests
