"""The versions that a training was made with. Nothing depends on them: an upgrade retrains nothing by itself."""

from __future__ import annotations

import platform
from importlib.metadata import version

LIBRARIES = ("torch", "numpy", "h5py")
"""What the numbers of a training depend on, beside Python."""


def library_versions() -> dict[str, str]:
    """Name -> version of Python and of LIBRARIES."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def versions_text() -> str:
    """The same in one line, e.g. ``python 3.11.7, torch 2.13.0, numpy 2.4.6, h5py 3.16.0``."""
    return ", ".join(f"{name} {number}" for name, number in library_versions().items())
