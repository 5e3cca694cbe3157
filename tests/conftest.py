"""What the tests of several folders share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import tools
from file_server import FileServer


@pytest.fixture
def server(monkeypatch) -> Iterator[FileServer]:
    """A server on loopback, reached without any proxy of the machine."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = FileServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    """The system's Chromium, without a window."""
    program = tools.program("chromium")
    with tools.playwright().sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program)
        yield browser
        browser.close()
