"""Building a system by name: its file is imported only when it is asked for."""

from __future__ import annotations

from nmer.errors import ConfigError
from nmer.systems.blocks import initialise
from nmer.systems.interface import System
from nmer.systems.registry import systems


def build_system(
    name: str,
    dims: dict[str, int],
    classes: int,
    dropout: float,
    options: dict | None = None,
    file: str | None = None,
) -> System:
    """A freshly initialised system (SPEC 3.2). Raises ConfigError for an option that the system does not declare."""
    options = options or {}
    constructor = systems.load(name, file)
    known = systems.declaration(name, file).options
    for option in options:
        if option not in known:
            raise ConfigError(f"System '{name}' has no option '{option}'. Its options: {', '.join(known) or 'none'}.")
    built = constructor(dims=dims, classes=classes, dropout=dropout, **(known | options))
    initialise(built)
    return built
