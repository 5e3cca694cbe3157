"""Fixtures and settings for all tests."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import tools
from file_server import FileServer
from hypothesis import settings

# Its database is outside the repository, which workflow tests copy while others run.
os.environ.setdefault(
    "HYPOTHESIS_STORAGE_DIRECTORY", str(Path(tempfile.gettempdir(), f"nmer_hypothesis_{os.getuid()}"))
)
# Examples are the same while the loaded modules are the same, because hypothesis also draws constants from their
# source. A failure prints its example and how to repeat it. Slow machines do not cause failures.
settings.register_profile("tests", derandomize=True, database=None, deadline=None, max_examples=25, print_blob=True)
# For a manual search: `python -m pytest --hypothesis-profile search`.
settings.register_profile("search", database=None, deadline=None, max_examples=1000)
settings.load_profile("tests")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the files that take longest, so that all workers finish together.

    These are the tests of whole workflows. One file runs the experiment that several of them share. The files that do
    not need it come second, so that no other worker waits for it.
    """
    sharing = [item.path for item in items if "finished_workflow" in getattr(item, "fixturenames", ())]

    def rank(item: pytest.Item) -> int:
        if item.path in sharing[:1]:
            return 0
        if "workflow" in item.path.parts:
            return 2 if item.path in sharing else 1
        return 3 if {"results", "systems", "training"} & set(item.path.parts) else 4

    items.sort(key=rank)


@pytest.fixture
def server(monkeypatch) -> Iterator[FileServer]:
    """A server on loopback, reached without a proxy."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = FileServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    """The installed Chromium, headless."""
    program = tools.program("chromium")
    with tools.playwright().sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program)
        yield browser
        browser.close()
