"""Versions of Python and libraries used in a training, for information only: an upgrade does not retrain anything."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import version

LIBRARIES = ("torch", "numpy", "h5py")
"""Libraries that the results of a training depend on."""


def library_versions() -> dict[str, str]:
    """Return name -> version of Python and of LIBRARIES."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


@cache  # reading the versions from the installation takes 2 ms, in every epoch of every repeat
def versions_text() -> str:
    """Return the versions as text, e.g. ``python 3.11.7, torch 2.13.0, numpy 2.4.6, h5py 3.16.0``."""
    return ", ".join(f"{name} {number}" for name, number in library_versions().items())
