"""Every section of the specification that the code or a page cites exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "specification.md"
SECTIONS = set(re.findall(r"^##+ (\d+(?:\.\d+)?)\.? ", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
FILES = [
    path
    for folder in ("scripts", "tests", "benchmarks", "workflow", "docs", "examples")
    for path in sorted((REPOSITORY / folder).rglob("*"))
    if path.suffix in (".py", ".md", ".smk", ".yaml", ".toml", ".j2")
]
CITATION = re.compile(r"SPEC(?:,? sections?)? (\d+(?:\.\d+)?(?:(?:, | and | to )\d+(?:\.\d+)?)*)")


def cited(text: str) -> set[str]:
    """Return the section numbers of every citation, which may continue on the next line."""
    joined = re.sub(r"\n[ #]*", " ", text)
    return {number for numbers in CITATION.findall(joined) for number in re.findall(r"\d+(?:\.\d+)?", numbers)}


def test_citations_are_found_in_every_form():
    assert cited("(SPEC 2.6) SPEC 4.3, 12 and SPEC section 5; SPEC 5.2 to 5.4") == {
        "2.6",
        "4.3",
        "12",
        "5",
        "5.2",
        "5.4",
    }
    assert cited("see SPEC\n    7") == {"7"}


def test_every_cited_section_exists():
    citations = {(path, number) for path in FILES for number in cited(path.read_text(encoding="utf-8"))}
    assert len(citations) > 100
    assert {
        f"{path.relative_to(REPOSITORY)}: {number}" for path, number in citations if number not in SECTIONS
    } == set()


@pytest.mark.parametrize("number", sorted(SECTIONS, key=lambda text: tuple(map(int, text.split(".")))))
def test_sections_are_numbered_without_a_gap(number):
    *above, last = number.split(".")
    before = ".".join([*above, str(int(last) - 1)])
    assert last == "1" or before in SECTIONS
    assert not above or above[0] in SECTIONS
