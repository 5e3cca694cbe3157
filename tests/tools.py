"""Optional programs that some tests need; `make tools` installs them."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

REQUIRED = os.environ.get("NMER_TOOLS") == "required"
"""Whether a missing tool fails a test, as in continuous integration, or skips it."""
AXE = Path(sys.prefix) / "node_modules" / "axe-core" / "axe.min.js"


def program(name: str) -> str:
    """Return the path of a program. If it is missing, skip the test, or fail if tools are required."""
    found = shutil.which(name)
    if found is None:
        _missing(name)
    return found


def axe() -> Path:
    """Return the script of axe-core, which checks the accessibility of a page."""
    if not AXE.is_file():
        _missing("axe-core")
    return AXE


def playwright():
    """Return the library that controls the browser."""
    try:
        from playwright import sync_api
    except ImportError:
        _missing("playwright")
    return sync_api


def _missing(name: str) -> None:
    report = pytest.fail if REQUIRED else pytest.skip
    report(f"needs {name}: make tools")
