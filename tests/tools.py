"""Programs that some tests need and that are not everywhere; `make tools` installs them."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

REQUIRED = os.environ.get("NMER_TOOLS") == "required"
"""Whether a missing tool is a failure (continuous integration has installed them) or the reason to skip a test."""
AXE = Path(sys.prefix) / "node_modules" / "axe-core" / "axe.min.js"


def program(name: str) -> str:
    """The path of a program. Where it is missing, the test is skipped, or fails if tools are required."""
    found = shutil.which(name)
    if found is None:
        _missing(name)
    return found


def axe() -> Path:
    """The script of axe-core, which looks for faults of accessibility in a page."""
    if not AXE.is_file():
        _missing("axe-core")
    return AXE


def playwright():
    """The library that drives the browser."""
    try:
        from playwright import sync_api
    except ImportError:
        _missing("playwright")
    return sync_api


def _missing(name: str) -> None:
    say = pytest.fail if REQUIRED else pytest.skip
    say(f"needs {name}: make tools")
