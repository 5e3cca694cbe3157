"""Reasons of failed jobs, from the logs of their steps: one line each, printed at the end even in quiet mode."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

SHOWN = 20
"""Number of distinct reasons that are printed; the others are only counted."""


def reasons(logs: Path, since: float) -> list[str]:
    """Return the reasons in log files written since a time (seconds since the epoch), with equal ones grouped.

    A reason is the last line that begins with ``error:``, or the last line of a log that ends in a traceback.
    """
    logs_by_reason: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(logs.rglob("*.log")):
        try:
            if path.stat().st_mtime < since:
                continue
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        if reason := _reason([line for line in lines if line.strip()]):
            logs_by_reason[reason].append(path)
    grouped = [f"{paths[0]}{_and_more(len(paths))}: {reason}" for reason, paths in logs_by_reason.items()]
    return grouped[:SHOWN] + ([f"… and {len(grouped) - SHOWN} other reasons."] if len(grouped) > SHOWN else [])


def _reason(lines: list[str]) -> str | None:
    errors = [line for line in lines if line.startswith("error:")]
    if errors:
        return errors[-1]
    return lines[-1] if any(line.startswith("Traceback ") for line in lines) else None


def _and_more(count: int) -> str:
    return f" and {count - 1} more" if count > 1 else ""
