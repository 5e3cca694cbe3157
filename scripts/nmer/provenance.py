"""Provenance records: step, code, settings and inputs, in a hidden JSON file next to every output of a job.

They are copied with the results, unlike Snakemake's records in ``.snakemake/``. They do not depend on time or machine:
the same code and settings write the same record.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nmer
from nmer import digests, files, planned_code

SETTINGS = ("--settings", "--schedule")
"""Arguments that pass settings to steps, as JSON."""

_notes: dict[str, Any] = {}


def note(**about: object) -> None:
    """Add fields to the records of this step."""
    _notes.update(about)


def write(arguments: list[str]) -> None:
    """Write the records of all files that this step wrote. arguments: ``sys.argv``.

    Does nothing for a step that was called without the fingerprint of a plan.
    """
    code = _value(arguments, planned_code.OPTION)
    if not code:
        return
    given = next(filter(None, (_value(arguments, option) for option in SETTINGS)), "{}")
    outputs = [path for path in dict.fromkeys(files.written) if path.exists() and not path.name.startswith(".")]
    about = {
        "step": Path(arguments[0]).name,
        "code": json.loads(code),
        "settings": json.loads(given),
        "inputs": dict(sorted(digests.compared.items())),
        "outputs": sorted(map(str, outputs)),
        "versions": {"nmer": nmer.__version__, "python": platform.python_version()},
        **_notes,
    }
    for path in outputs:
        if path.suffix == digests.DIGEST_SUFFIX:
            continue
        # A large file has its digest next to it.
        with_digest = path.is_dir() or digests.digest_path(path).exists()
        record = about | ({} if with_digest else {"sha256": digests.file_digest(path)})
        files.write_json(digests.record_path(path), record)


def records(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Read the records of files; files without one are skipped."""
    return [record for path in paths if (record := digests.recorded(path)) is not None]


def _value(arguments: list[str], option: str) -> str:
    return arguments[arguments.index(option) + 1] if option in arguments[:-1] else ""
