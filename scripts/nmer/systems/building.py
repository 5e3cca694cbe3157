"""Building a system by name: its file is imported only when it is asked for."""

from __future__ import annotations

from typing import Any

from nmer.systems.blocks import initialise
from nmer.systems.interface import System
from nmer.systems.registry import systems


def build_system(
    name: str,
    dims: dict[str, int],
    classes: int,
    dropout: float = 0.5,
    options: dict[str, Any] | None = None,
    file: str | None = None,
) -> System:
    """A freshly initialised system (SPEC 3.2), with every option that is not given at its default.

    name: of a shipped system, or of the one in ``file``. dims: width of each modality's features. classes: how many.
    dropout: rate of the classifier. Raises ConfigError for an option that the system does not declare, or a value that
    it cannot take."""
    options = options or {}
    constructor = systems.load(name, file)
    declaration = systems.declaration(name, file)
    declaration.check_options(options, f"systems.{name}")
    built = constructor(dims=dims, classes=classes, dropout=dropout, **(declaration.options | options))
    initialise(built)
    return built
