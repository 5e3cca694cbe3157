"""Validation of the media names in a table: they must not lead out of its folder."""

from __future__ import annotations

from pathlib import Path

from nmer.errors import DataError


def relative_name(name: str, root: Path, place: str) -> str:
    """Return a file name relative to ``root``, with forward slashes.

    place: where the name is, for messages. Raises DataError if the name leads out of the folder, even by a link.
    """
    if not name:
        return ""
    relative = Path(name)
    outside = relative.is_absolute() or ".." in relative.parts or "\0" in name
    if outside or not (root / relative).resolve().is_relative_to(root.resolve()):
        raise DataError(f"{place}: '{name}' leads out of {root}. Use files below that folder.")
    return relative.as_posix()
