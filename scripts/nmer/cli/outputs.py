"""Checks of a file that a sub-command writes, before it computes anything."""

from __future__ import annotations

from pathlib import Path

from nmer.errors import ConfigError


def check_output(path: Path, option: str, *inputs: Path) -> None:
    """Raise ConfigError if an output cannot be a file, or would replace an input or a file in a folder of inputs."""
    if path.is_dir():
        raise ConfigError(f"{option}: {path} is a folder. Name a file.")
    above = next((folder for folder in path.parents if folder.exists()), None)
    if above is not None and not above.is_dir():
        raise ConfigError(f"{option}: {above} is a file, so {path} cannot be written. Name another folder.")
    if not path.exists():
        return
    if any(source.exists() and path.samefile(source) for source in inputs):
        raise ConfigError(f"{option}: {path} is read by this command and would be overwritten. Name another file.")
    folders = (source.resolve() for source in inputs if source.is_dir())
    if any(path.resolve().is_relative_to(folder) for folder in folders):
        raise ConfigError(
            f"{option}: {path} exists in the folder that this command reads. Name another file, or delete this one."
        )
