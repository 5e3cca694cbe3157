"""The fingerprint of a step changes when, and only when, code changes that the step runs."""

from __future__ import annotations

import pytest

from nmer import fingerprint as fingerprints

STEP = '''"""A step."""

from pack.first import double  # used below


def main():
    """Print a number."""
    print(double(2))
'''
FIRST = '''"""First."""

from pack.second import SIZE

LIMIT = 3
"""How far it goes."""


def double(x):
    """Twice x."""
    return x * SIZE
'''


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    """A small folder of scripts: step imports first, first imports second, and third is not imported."""
    folder = tmp_path / "scripts"
    (folder / "pack").mkdir(parents=True)
    (folder / "step.py").write_text(STEP)
    (folder / "pack" / "__init__.py").write_text("")
    (folder / "pack" / "first.py").write_text(FIRST)
    (folder / "pack" / "second.py").write_text("SIZE = 2\n")
    (folder / "pack" / "third.py").write_text("OTHER = 1\n")
    monkeypatch.setattr(fingerprints, "SCRIPTS", folder)
    yield folder
    fingerprints.forget()


def digest(*plugins) -> str:
    """Compute the fingerprint like the next invocation."""
    fingerprints.forget()
    return fingerprints.fingerprint("step.py", plugins)


def edit(path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_same_code_has_the_same_fingerprint(scripts):
    first = digest()
    assert digest() == first
    assert len(first) == 16
    int(first, 16)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# used below", "# a better comment"),
        ("  # used below", ""),
        ('"""A step."""', '"""A step, described at length."""'),
        ('"""Print a number."""', '"""Print\n    a number."""'),
        ("\n\n\ndef main", "\n\n\n\n\ndef main"),
        ("print(double(2))", "print(\n        double( 2 )\n    )"),
    ],
)
def test_comments_docstrings_and_layout_of_a_step_do_not_count(scripts, old, new):
    before = digest()
    edit(scripts / "step.py", old, new)
    assert digest() == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('    """Twice x."""\n', ""),
        ('"""First."""\n', ""),
        ('"""How far it goes."""', '"""How far it goes, in steps."""'),
        ('"""How far it goes."""\n', ""),
    ],
    ids=["function's removed", "module's removed", "constant's edited", "constant's removed"],
)
def test_docstrings_added_removed_or_under_a_constant_do_not_count_either(scripts, old, new):
    before = digest()
    edit(scripts / "pack" / "first.py", old, new)
    assert digest() == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("step.py", "double(2)", "double(3)"),
        ("pack/first.py", "x * SIZE", "SIZE * x"),
        ("pack/first.py", "return", "yield"),
        ("pack/first.py", "LIMIT = 3", "LIMIT = 4"),
        ("pack/second.py", "SIZE = 2", "SIZE = 2.0"),
    ],
)
def test_code_of_a_step_and_of_its_imports_counts(scripts, file, old, new):
    before = digest()
    edit(scripts / file, old, new)
    assert digest() != before


def test_a_text_that_is_used_counts(scripts):
    edit(scripts / "pack" / "second.py", "SIZE = 2", 'SIZE = "two"')
    before = digest()
    edit(scripts / "pack" / "second.py", '"two"', '"three"')
    assert digest() != before


def test_code_that_a_step_does_not_import_does_not_count(scripts):
    before = digest()
    edit(scripts / "pack" / "third.py", "OTHER = 1", "OTHER = 2")
    assert digest() == before


def test_an_import_inside_a_function_counts(scripts):
    edit(scripts / "step.py", "print(double(2))", "import pack.third\n    print(double(2))")
    before = digest()
    edit(scripts / "pack" / "third.py", "OTHER = 1", "OTHER = 2")
    assert digest() != before


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("near", "from .third import OTHER"),
        ("near", "from . import third"),
        ("inner.near", "from ..third import OTHER"),
    ],
)
def test_a_relative_import_counts(scripts, module, line):
    file = scripts.joinpath("pack", *module.split(".")).with_suffix(".py")
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"{line}\n")
    edit(scripts / "step.py", "print(double(2))", f"import pack.{module}\n    print(double(2))")
    before = digest()
    edit(scripts / "pack" / "third.py", "OTHER = 1", "OTHER = 2")
    assert digest() != before


def test_an_import_for_types_does_not_count_but_its_alternative_at_run_time_does(scripts):
    types = "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    import pack.third\n"
    types += "else:\n    import pack.fourth\n\n"
    (scripts / "pack" / "fourth.py").write_text("OTHER = 1\n")
    edit(scripts / "pack" / "second.py", "SIZE = 2", types + "SIZE = 2")
    before = digest()
    edit(scripts / "pack" / "third.py", "OTHER = 1", "OTHER = 2")
    assert digest() == before
    edit(scripts / "pack" / "fourth.py", "OTHER = 1", "OTHER = 2")
    assert digest() != before


def test_a_named_plug_in_and_its_imports_count(scripts, tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text("from pack.third import OTHER\n\nMINE = OTHER\n")
    without, with_plugin = digest(), digest(plugin)
    assert with_plugin != without
    edit(scripts / "pack" / "third.py", "OTHER = 1", "OTHER = 2")
    assert digest(plugin) != with_plugin
    with_plugin = digest(plugin)
    edit(plugin, "MINE = OTHER", "MINE = -OTHER")
    assert digest(plugin) != with_plugin
    assert digest() == without


def test_the_folder_that_contains_the_code_does_not_count(scripts, tmp_path, monkeypatch):
    before = digest()
    moved = tmp_path / "elsewhere"
    scripts.rename(moved)
    monkeypatch.setattr(fingerprints, "SCRIPTS", moved)
    assert digest() == before


def test_the_file_of_a_system_counts_for_its_jobs_only():
    fingerprints.forget()
    nmer, men = (fingerprints.SCRIPTS / "nmer" / "systems" / f"{name}.py" for name in ("nmer", "men"))
    found = {
        fingerprints.fingerprint("train.py", ()),
        fingerprints.fingerprint("train.py", (nmer,)),
        fingerprints.fingerprint("train.py", (men,)),
    }
    assert len(found) == 3
    assert nmer.resolve() not in fingerprints.local_imports(fingerprints.SCRIPTS / "train.py")
