"""Checks of a file that a sub-command writes, before it computes anything."""

from __future__ import annotations

from pathlib import Path

from nmer.errors import ConfigError


def check_output(path: Path, option: str, *inputs: Path) -> None:
    """Raise ConfigError if an output is a folder, or is a file that the same call reads."""
    if path.is_dir():
        raise ConfigError(f"{option}: {path} is a folder. Name a file.")
    if any(path.exists() and source.exists() and path.samefile(source) for source in inputs):
        raise ConfigError(f"{option}: {path} is read by this command and would be overwritten. Name another file.")
