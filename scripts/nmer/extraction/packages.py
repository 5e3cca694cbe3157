"""Optional packages: checks, versions, and weights inside packages.

Packages installed only for their weights are never imported, because their dependencies are not installed.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping
from pathlib import Path

from nmer.errors import ConfigError
from nmer.plugins import Declaration

COMMAND = "make extraction"
"""Command that installs the packages."""


def check_packages(declaration: Declaration, where: str) -> None:
    """Raise ConfigError that names the command to run if a package of an extractor is missing.

    where: the key that names the extractor.
    """
    check_modules(dict.fromkeys(declaration.attributes.get("packages", ()), ""), where)
    check_modules(weights(declaration), where)


def check_modules(modules: Mapping[str, str], where: str) -> None:
    """Raise ConfigError that names the command to run if a module or a file inside it is missing.

    modules: module -> file inside it, or "". where: the key that needs them.
    """
    for module, file in modules.items():
        if importlib.util.find_spec(module) is None:
            raise ConfigError(f"{where} needs the package '{module}', which is not installed. Install it: {COMMAND}")
        if file:
            weights_file(module, file)


def needed_packages(declaration: Declaration) -> list[str]:
    """Return the modules that an extractor needs, including those with its weights."""
    return [*declaration.attributes.get("packages", ()), *weights(declaration)]


def weights(declaration: Declaration) -> Mapping[str, str]:
    """Return the packages with an extractor's weights, each with the file inside it."""
    files: Mapping[str, str] = declaration.attributes.get("weights", {})
    return files


def weights_file(package: str, file: str) -> Path:
    """Return the path of a file inside an installed package without importing it. Raises ConfigError if absent."""
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        if (path := Path(folder, file)).is_file():
            return path
    raise ConfigError(f"The package '{package}' with its file {file} is not installed. Install it: {COMMAND}")


def versions(declaration: Declaration) -> dict[str, str]:
    """Return the versions of all packages of an extractor, and of NumPy and SciPy."""
    names = importlib.metadata.packages_distributions()
    installed = {}
    for module in ("numpy", "scipy", *needed_packages(declaration)):
        for distribution in names.get(module, [])[:1]:
            installed[distribution] = importlib.metadata.version(distribution)
    return dict(sorted(installed.items()))
