"""The site of the documentation: every page has its place, equations read on GitHub too, its packages are pinned.

That the site builds, with every link and anchor, is what `make docs` checks.
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
    """Reads mkdocs.yml, in which one value is made by calling a function."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda _loader, suffix, _node: suffix)


def places(navigation: list | dict | str) -> Iterator[str]:
    """The pages of a navigation, whatever headings they stand under."""
    if isinstance(navigation, str):
        yield navigation
    else:
        for part in navigation.values() if isinstance(navigation, dict) else navigation:
            yield from places(part)


def test_every_page_has_one_place_in_the_navigation():
    settings = yaml.load((REPOSITORY / "mkdocs.yml").read_text(), Loader)
    assert sorted(places(settings["nav"])) == sorted(str(path.relative_to(DOCS)) for path in PAGES)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_equations_have_no_mark_that_github_takes_for_emphasis(path):
    text = re.sub(r"`[^`\n]*`", "", without_code(path.read_text()))
    equations = re.findall(r"\$\$(.*?)\$\$|\$([^$\n]+)\$", text, re.DOTALL)
    for block, inline in equations:
        assert not re.search(r"[^\w]_|\*", inline or ""), inline
        assert block or inline.strip() == inline, inline
    assert text.count("$$") % 2 == 0


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_lists_and_tables_stand_apart_from_the_text_before_them(path):
    # GitHub does not ask for the empty line, the site's Markdown does.
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
