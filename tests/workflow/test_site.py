"""On the documentation site every page has one place, equations also render on GitHub, and packages are pinned.

`make docs` checks that the site builds, with every link and anchor.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from test_documentation import without_code
from test_environment import lock, pins

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


class Loader(yaml.SafeLoader):
    """Loader of mkdocs.yml, in which one value is a call of a Python function."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda _loader, suffix, _node: suffix)


KINDS = ["Tutorials", "How-to guides", "Reference", "Explanation"]


def pages(navigation: list | dict | str) -> Iterator[str]:
    """Yield the pages of a part of the navigation."""
    if isinstance(navigation, str):
        yield navigation
    else:
        for part in navigation.values() if isinstance(navigation, dict) else navigation:
            yield from pages(part)


def navigation() -> dict[str, list[str]]:
    """Return the pages of the navigation by top-level heading."""
    settings = yaml.load((REPOSITORY / "mkdocs.yml").read_text(), Loader)
    return {heading: list(pages(part)) for entry in settings["nav"] for heading, part in entry.items()}


def test_every_page_has_one_place_in_the_navigation():
    listed = itertools.chain.from_iterable(navigation().values())
    assert sorted(listed) == sorted(str(path.relative_to(DOCS)) for path in PAGES)


def test_every_page_but_the_first_is_a_tutorial_a_how_to_a_reference_or_an_explanation():
    kinds = navigation()
    assert kinds.pop("Home") == ["index.md"]
    assert list(kinds) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_page_lists_every_page_under_its_kind_in_the_navigation(kind):
    section = (DOCS / "index.md").read_text().split(f"\n## {kind}\n")[1].split("\n## ")[0]
    assert sorted(re.findall(r"\]\(([\w/]+\.md)\)", section)) == sorted(navigation()[kind])


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_equations_have_no_character_that_github_reads_as_emphasis(path):
    text = re.sub(r"`[^`\n]*`", "", without_code(path.read_text()))
    equations = re.findall(r"\$\$(.*?)\$\$|\$([^$\n]+)\$", text, re.DOTALL)
    for block, inline in equations:
        assert not re.search(r"[^\w]_|\*", inline or ""), inline
        assert block or inline.strip() == inline, inline
    assert text.count("$$") % 2 == 0


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_an_empty_line_precedes_every_list_and_table(path):
    # The site's Markdown needs the empty line; GitHub does not.
    lines = without_code(path.read_text()).splitlines()
    for before, line in itertools.pairwise(lines):
        starts_a_list = re.match(r"([-*]|\d+\.) ", line) and not re.match(r"([-*]|\d+\.) |\s", before)
        starts_a_table = line.startswith("|") and not before.startswith("|")
        assert not before or not (starts_a_list or starts_a_table), line


def test_the_packages_of_the_site_are_pinned_and_agree_with_the_workflows():
    stated = pins((REPOSITORY / "envs" / "docs.txt").read_text().splitlines())
    assert all(re.fullmatch(r"\d[\w.]*", version) for version in stated.values())
    common = set(stated) & {"jinja2", "markupsafe", "pyyaml", "requests"}
    assert {name: stated[name] for name in common} == {name: lock()[name] for name in common}
