"""Only fetch rules use the network, and outputs reveal neither user nor machine."""

from __future__ import annotations

import ast
import getpass
import gzip
from pathlib import Path

import pytest
from workflow_copy import REPOSITORY, may_go_offline

NETWORK = {"requests", "urllib.request", "http.client", "socket", "ftplib", "urllib3", "aiohttp", "httpx"}
FETCHING = {"nmer/corpora/download.py"}
"""Modules that the rules fetch_<dataset> run."""


def imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_only_fetching_modules_import_network_libraries():
    scripts = REPOSITORY / "scripts"
    reaching = {str(path.relative_to(scripts)) for path in scripts.rglob("*.py") if imports(path) & NETWORK}
    assert reaching == FETCHING


@pytest.mark.skipif(not may_go_offline(), reason="needs the right to leave the network (unshare --net)")
def test_an_experiment_needs_no_network(finished_workflow):
    # The fixture runs it without a network.
    assert (finished_workflow.folder / "results/tiny/report.html").is_file()


def test_no_output_contains_an_absolute_path_or_the_user_name(finished_workflow):
    folder = finished_workflow.folder
    private = [str(folder).encode(), str(folder.parent.parent).encode(), str(Path.home()).encode() + b"/"]
    private += [f"{separator}{getpass.getuser()}{separator}".encode() for separator in "/\\"]
    checked = [path for path in (folder / "results").rglob("*") if path.is_file()]
    assert len(checked) > 100
    for path in checked:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        assert [name for name in private if name in content] == [], path
