"""Names that an option of a plug-in cannot have, because the configuration uses them next to the options."""

from __future__ import annotations

from collections.abc import Collection

from nmer.errors import ConfigError
from nmer.plugins import Declaration


def refuse_reserved(declaration: Declaration, reserved: Collection[str]) -> Declaration:
    """Return a declaration whose options can all be set. Raises ConfigError for an option with a reserved name."""
    for option in declaration.options:
        if option in reserved:
            raise ConfigError(
                f"{declaration.file}: '{declaration.name}' has an option '{option}', a name that the configuration "
                f"reserves (reserved here: {', '.join(reserved)}). Rename the option."
            )
    return declaration
