"""Optional packages: whether they are there, their versions, and weights that are shipped inside them.

Packages that are installed for their weights only are never imported: what they import is not installed.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping
from pathlib import Path

from nmer.errors import ConfigError
from nmer.plugins import Declaration

COMMAND = "make extraction"
"""What installs them."""


def check_packages(declaration: Declaration, where: str) -> None:
    """Raise ConfigError, with the command that installs it, if a package of an extractor is missing.

    where: the key that names the extractor.
    """
    check_modules(dict.fromkeys(declaration.attributes.get("packages", ()), ""), where)
    check_modules(weights(declaration), where)


def check_modules(modules: Mapping[str, str], where: str) -> None:
    """Raise ConfigError, with the command that installs them, if a module is missing, or a file that is read of it.

    modules: each with a file inside it, or nothing. where: the key that needs them.
    """
    for module, file in modules.items():
        if importlib.util.find_spec(module) is None:
            raise ConfigError(f"{where} needs the package '{module}', which is not installed. Install it: {COMMAND}")
        if file:
            weights_file(module, file)


def needed_packages(declaration: Declaration) -> list[str]:
    """The modules that an extractor needs, those that hold its weights among them."""
    return [*declaration.attributes.get("packages", ()), *weights(declaration)]


def weights(declaration: Declaration) -> Mapping[str, str]:
    """The packages that hold an extractor's weights, each with the file inside it."""
    given: Mapping[str, str] = declaration.attributes.get("weights", {})
    return given


def weights_file(package: str, file: str) -> Path:
    """A file inside an installed package, which is not imported. Raises ConfigError if it is not there."""
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        if (path := Path(folder, file)).is_file():
            return path
    raise ConfigError(f"The package '{package}' with its file {file} is not installed. Install it: {COMMAND}")


def versions(declaration: Declaration) -> dict[str, str]:
    """The version of every package of an extractor, and of those that all of them compute with."""
    names = importlib.metadata.packages_distributions()
    found = {}
    for module in ("numpy", "scipy", *needed_packages(declaration)):
        for distribution in names.get(module, [])[:1]:
            found[distribution] = importlib.metadata.version(distribution)
    return dict(sorted(found.items()))
