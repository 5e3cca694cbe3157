"""Draw which package of scripts/nmer imports which, as docs/pictures/imports.svg; run after packages change.

    python docs/draw_imports.py

Reads the imports from the sources with ``ast`` and imports nothing. An arrow that other arrows imply is left out.
Packages that import each other, directly or through others, end with an error.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError
from pathlib import Path

from layered import drawing

REPOSITORY = Path(__file__).resolve().parents[1]
SCRIPTS = REPOSITORY / "scripts"
PICTURE = REPOSITORY / "docs" / "pictures" / "imports.svg"
STEPS, COMMON = "scripts/*.py", "nmer/*.py"
"""Names of the two boxes that are not packages: the steps, and the modules directly in scripts/nmer."""


def packages(scripts: Path) -> dict[str, list[Path]]:
    """Return the files of every box: the steps, the common modules and each package.

    ``nmer/__init__.py`` is left out: it names the public interface of all packages, and imports them on first use.
    """
    package = scripts / "nmer"
    found = {STEPS: sorted(scripts.glob("*.py"))}
    found[COMMON] = sorted(path for path in package.glob("*.py") if path.name != "__init__.py")
    for folder in sorted(path.parent for path in package.glob("*/__init__.py")):
        found[folder.name] = sorted(folder.rglob("*.py"))
    return found


def imported(path: Path) -> Iterator[str]:
    """Yield the full names of what a file imports from ``nmer``, also within functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("nmer."))
        elif isinstance(node, ast.ImportFrom) and node.module == "nmer":
            yield from (f"nmer.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nmer."):
            yield str(node.module)


def needs(files: dict[str, list[Path]]) -> dict[str, set[str]]:
    """Return the boxes that each box imports from."""
    found: dict[str, set[str]] = {}
    for box, paths in files.items():
        second = {name.split(".")[1] for path in paths for name in imported(path)}
        found[box] = {name if name in files else COMMON for name in second} - {box}
    return found


def picture(files: dict[str, list[Path]]) -> str:
    """Return the drawing as SVG. Raises graphlib.CycleError if packages import each other."""
    return drawing(needs(files), "Imports between the packages of scripts/nmer; every arrow points down")


if __name__ == "__main__":
    try:
        PICTURE.write_text(picture(packages(SCRIPTS)), encoding="utf-8")
    except CycleError as error:
        sys.exit(f"error: scripts/nmer: packages import each other: {' -> '.join(error.args[1])}. Remove one import.")
