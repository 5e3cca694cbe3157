"""The git commit of the workflow's code, and whether files differ from it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

UNKNOWN = "unknown"


def commit_of(folder: Path) -> str:
    """Return the commit of a repository, followed by ``, modified`` if tracked files differ from it.

    folder: the top folder of the repository. Returns ``unknown`` without git, and for a folder that is not the top
    folder of a repository.
    """
    try:
        top = _git(folder, "rev-parse", "--show-toplevel")
        if not top or Path(top).resolve() != folder.resolve():
            return UNKNOWN
        commit = _git(folder, "rev-parse", "HEAD")
        modified = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return UNKNOWN
    return f"{commit}, modified" if modified else commit


def _git(folder: Path, *arguments: str) -> str:
    # Variables set by git hooks would name another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=30)
    return finished.stdout.strip()
