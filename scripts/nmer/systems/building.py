"""Build a system by name. Only its file is imported."""

from __future__ import annotations

from typing import Any

from nmer.errors import ConfigError
from nmer.systems.blocks.layers import initialise
from nmer.systems.interface import System
from nmer.systems.registry import systems, unfit


def build_system(
    name: str,
    dims: dict[str, int],
    classes: int,
    dropout: float = 0.5,
    options: dict[str, Any] | None = None,
    file: str | None = None,
) -> System:
    """Build and initialise a system (SPEC 3.2), with options that are not given at their default.

    name: of a shipped system, or of one in ``file``. dims: width of each modality of the corpus. classes: number of
    classes. dropout: rate of the classifier. Raises ConfigError for an unknown option, an impossible value, and
    modalities that the system does not support.
    """
    options = options or {}
    constructor = systems.load(name, file)
    declaration = systems.declaration(name, file)
    declaration.check_options(options, f"systems.{name}")
    if reason := unfit(declaration, options, dims):
        raise ConfigError(f"systems.{name}: it cannot read the modalities {', '.join(dims)}: {reason}.")
    built = constructor(dims=dims, classes=classes, dropout=dropout, **options)
    if lost := next((option for option, value in options.items() if getattr(built, option, value) != value), None):
        raise ConfigError(
            f"systems.{name}: its constructor does not pass '{lost}' on. Take **options, and call "
            "super().__init__(dims, classes, dropout, **options)."
        )
    if built.initialisation == "kaiming":
        initialise(built)
    return built
