"""What every step script shares: settings from one JSON string, one clear message on a user's error."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import TypeVar

from nmer.errors import ConfigError, NmerError, nearest

Settings = TypeVar("Settings")


def parser(description: str) -> argparse.ArgumentParser:
    """An argument parser whose description is the step's docstring."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def settings(text: str) -> dict:
    """Parse the ``--settings`` argument. Raises ConfigError if it is not a JSON object."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"--settings is not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise ConfigError('--settings must be a JSON object, e.g. \'{"dataset": "mosi"}\'.')
    return value


def fill(cls: type[Settings], mapping: dict, where: str = "settings") -> Settings:
    """A dataclass filled from a JSON object. Raises ConfigError for an unknown or a missing key."""
    known = {item.name: item for item in fields(cls)}
    for key in mapping:
        if key not in known:
            raise ConfigError(f"{where}: unknown key '{key}'. {nearest(key, known)}")
    for key, item in known.items():
        if key not in mapping and item.default is MISSING and item.default_factory is MISSING:
            raise ConfigError(f"{where}: missing key '{key}'. Add it.")
    return cls(**mapping)


def run(main: Callable[[], None]) -> None:
    """Run a step; an error that a user can cause ends in one line and exit status 1."""
    try:
        main()
    except (NmerError, OSError) as error:
        print(f"error: {_sentence(error)}", file=sys.stderr)
        sys.exit(1)


def _sentence(error: Exception) -> str:
    """An error of the operating system (permissions, a full disk) said as ours are: the file, then what is wrong."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    return str(error)
