"""The errors a user can cause. Each carries one message: what is wrong, in which file or key, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NmerError(Exception):
    """An error whose message is written for the user; steps print it without a traceback."""


class ConfigError(NmerError):
    """A key of the configuration is unknown, missing or has an impossible value."""


class DataError(NmerError):
    """A file of features, noise, models or scores is missing, damaged or contradicts another."""


class TrainingError(NmerError):
    """A training cannot go on, e.g. because its loss is not finite."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence naming the nearest known name, or all of them: for messages about a misspelt name."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"Did you mean '{close[0]}'?"
    return f"Known names: {', '.join(known)}." if known else "There is none to choose from."
