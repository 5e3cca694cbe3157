"""Names of media files that a table gives: none may lead out of its folder."""

from __future__ import annotations

from pathlib import Path

from nmer.errors import DataError


def inside(name: str, root: Path, place: str) -> str:
    """A file name as it is stored: relative to ``root``, with forward slashes.

    place: for messages. Raises DataError for a name that leads out of the folder, also by a link.
    """
    if not name:
        return ""
    relative = Path(name)
    outside = relative.is_absolute() or ".." in relative.parts or "\0" in name
    if outside or not (root / relative).resolve().is_relative_to(root.resolve()):
        raise DataError(f"{place}: '{name}' leads out of {root}. Name files below that folder.")
    return relative.as_posix()
