"""The drawings of the architecture page match imports and rules; its table names existing files."""

from __future__ import annotations

import re
import sys
from graphlib import CycleError
from pathlib import Path

import pytest
from test_documentation import table_rows

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "architecture.md").read_text()

sys.path.insert(0, str(REPOSITORY / "docs"))
import draw_imports  # noqa: E402
import draw_jobs  # noqa: E402
import layered  # noqa: E402


def sources(folder: Path, **texts: str) -> dict[str, list[Path]]:
    """Write one module per package, with the given text; return the files of every box."""
    for name, text in texts.items():
        (folder / "nmer" / name).mkdir(parents=True)
        (folder / "nmer" / name / "__init__.py").touch()
        (folder / "nmer" / name / "module.py").write_text(text)
    (folder / "nmer" / "files.py").touch()
    return draw_imports.packages(folder)


def test_the_drawing_shows_the_current_imports():
    drawn = draw_imports.picture(draw_imports.packages(REPOSITORY / "scripts"))
    assert draw_imports.PICTURE.read_text() == drawn, "run: python docs/draw_imports.py"
    assert f"](pictures/{draw_imports.PICTURE.name})" in PAGE


def test_every_import_is_found_and_implied_arrows_are_left_out(tmp_path):
    files = sources(
        tmp_path,
        low="import nmer.files",
        middle="from nmer.low import module",
        high="def late():\n    from nmer import middle\n    from nmer.low.module import x\n",
    )
    direct = draw_imports.needs(files)
    assert direct["high"] == {"middle", "low"}
    assert direct["low"] == {draw_imports.COMMON}
    arrows, row = layered.reduced(direct)
    assert arrows["high"] == {"middle"}
    assert [row[box] for box in (draw_imports.COMMON, "low", "middle", "high")] == [0, 1, 2, 3]


def test_packages_that_import_each_other_cannot_be_drawn(tmp_path):
    files = sources(tmp_path, one="import nmer.two.module", two="import nmer.one.module")
    with pytest.raises(CycleError):
        draw_imports.picture(files)


def test_the_drawing_of_jobs_shows_rules_that_exist():
    assert f"](pictures/{draw_jobs.PICTURE.name})" in PAGE
    rules = [path.read_text() for path in (REPOSITORY / "workflow" / "rules").glob("*.smk")]
    named = set(re.findall(r"^(?:rule|use rule \w+ as) (\w+)", "\n".join(rules), re.MULTILINE))
    drawn = set(re.findall(r'class="name"[^>]*>(\w+)<', draw_jobs.PICTURE.read_text()))
    assert {"train", "evaluate", "report"} <= drawn <= named


@pytest.mark.slow
def test_the_drawing_of_jobs_has_the_arrows_of_snakemakes_graph():
    assert draw_jobs.PICTURE.read_text() == draw_jobs.picture(), "run: python docs/draw_jobs.py"


def test_every_place_to_change_something_exists():
    section = PAGE.split("\n## Where do I change\n")[1].split("\n## ")[0]
    rows = table_rows(section)
    assert len(rows) > 20
    for what, where, test in rows:
        paths = re.findall(r"`([^` ]+)`", f"{where} {test}")
        assert where.startswith("`"), what
        assert test.startswith("`tests/"), what
        assert all((REPOSITORY / path).exists() for path in paths), what


def test_every_package_is_described():
    folders = {path.parent.name for path in (REPOSITORY / "scripts" / "nmer").glob("*/__init__.py")}
    section = PAGE.split("\n## Packages\n")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `scripts/nmer/(\w+)/` \|", section, re.MULTILINE)) == folders
