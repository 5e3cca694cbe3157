"""A page in headless Chromium, opened from disk without a network, and a description of its faults."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import tools

WIDTHS = (360, 768, 1280)
"""Widths of a phone, a tablet and a laptop in pixels."""
SCHEMES = ("light", "dark")
HEIGHT = 900


@dataclass
class Visit:
    """An opened page with its network requests and its errors."""

    page: object
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def faults(self) -> list[str]:
        """Return faults other than accessibility: errors, requests, broken images, a body wider than the window."""
        faults = [f"requests {address}" for address in self.requests] + self.complaints
        lost = "image => !(image.complete && image.naturalWidth > 0)"
        faults += [
            f"image not shown: {alternative}"
            for alternative in self.page.evaluate(f"[...document.images].filter({lost}).map(image => image.alt)")
        ]
        wide, window = self.page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        return faults + ([f"is {wide} pixels wide in a window of {window}"] if wide > window else [])

    def accessibility_faults(self) -> list[str]:
        """Return the violations found by axe-core, each with its first place."""
        # Evaluated, not added as a script, so the page is tested unchanged.
        self.page.evaluate(tools.axe().read_text(encoding="utf-8"))
        found = self.page.evaluate("axe.run(document)")
        assert found["passes"], "axe has looked at nothing"
        return [f"{one['id']}: {one['help']}, first at {one['nodes'][0]['html']}" for one in found["violations"]]


@contextmanager
def visit(browser, path: Path, width: int = WIDTHS[-1], scheme: str = SCHEMES[0]) -> Iterator[Visit]:
    """Open a file without a network, in a window with a width in pixels and a colour scheme."""
    context = browser.new_context(viewport={"width": width, "height": HEIGHT}, color_scheme=scheme, offline=True)
    page = context.new_page()
    visit = Visit(page)

    def requested(request) -> None:
        if request.url.split(":")[0] not in ("file", "data", "blob"):
            visit.requests.append(request.url)

    def logged(message) -> None:
        if message.type == "error":
            visit.complaints.append(f"console: {message.text}")

    page.on("request", requested)
    page.on("console", logged)
    page.on("pageerror", lambda error: visit.complaints.append(f"script: {error}"))
    page.goto(path.resolve().as_uri(), wait_until="load")
    yield visit
    context.close()
