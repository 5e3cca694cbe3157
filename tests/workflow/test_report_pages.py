"""Pages of a finished experiment in a real browser: phone to laptop, light and dark, on paper, without a network."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import tools
from browser import SCHEMES, WIDTHS, visit

pytestmark = [pytest.mark.slow, pytest.mark.tools]

BAD_PAGE = """<!DOCTYPE html><html lang="en"><head><title>Bad</title></head>
<body><main><h1>Bad</h1><p style="width: 2000px">wide</p><p style="color: #ccc; background: #fff">pale</p>
<img src="missing.png" alt="a curve"><img src="https://example.org/x.png" alt="another">
<script>console.error("it failed"); undefined_function();</script></main></body></html>
"""


@pytest.fixture(scope="module")
def report(finished_workflow) -> Path:
    """The report of the `tiny` experiment."""
    return finished_workflow.folder / "results" / "tiny" / "report.html"


def test_the_checks_find_the_faults_of_a_bad_page(chromium, tmp_path):
    (tmp_path / "bad.html").write_text(BAD_PAGE)
    with visit(chromium, tmp_path / "bad.html", width=360) as visited:
        faults = "\n".join(visited.faults())
        accessibility = "\n".join(visited.accessibility_faults())
    for fault in (
        "requests https://example.org/x.png",
        "image not shown: a curve",
        "pixels wide in a window of 360",
        "console: it failed",
        "script: undefined_function",
    ):
        assert fault in faults
    assert "color-contrast" in accessibility


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_report_fits_the_window_and_is_accessible(chromium, report, width, scheme):
    with visit(chromium, report, width, scheme) as visited:
        assert visited.page.evaluate("document.images.length") >= 5
        assert visited.faults() == []
        assert visited.accessibility_faults() == []


def test_the_report_follows_the_colour_scheme(chromium, report):
    brightness = {}
    for scheme in SCHEMES:
        with visit(chromium, report, scheme=scheme) as visited:
            colour = visited.page.evaluate("getComputedStyle(document.body).backgroundColor")
            brightness[scheme] = sum(map(int, re.findall(r"\d+", colour)[:3])) / 3
    assert brightness["light"] > 200
    assert brightness["dark"] < 50


def test_every_table_of_the_report_is_printed_whole(chromium, report, tmp_path):
    pdftotext = tools.program("pdftotext")
    with visit(chromium, report) as visited:
        rows = visited.page.evaluate("[...document.querySelectorAll('td, th')].map(cell => cell.textContent.trim())")
        visited.page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
    text = subprocess.run([pdftotext, tmp_path / "report.pdf", "-"], capture_output=True, check=True).stdout.decode()
    cells = {number for row in rows for number in re.findall(r"\d\.\d{4}", row)}
    assert len(cells) > 50
    # Text outside the paper is missing from the text of the PDF pages.
    assert {number for number in cells if number not in text} == set()
