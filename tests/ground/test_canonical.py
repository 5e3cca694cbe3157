"""The canonical form of source is the same in every Python and for changes of messages only."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nmer import canonical, fingerprint

SOURCE = '''\
"""A module."""
from __future__ import annotations

import logging
import sys
import time
import warnings
from typing import TYPE_CHECKING

from nmer.errors import DataError
from nmer.progress import progress
from tqdm import tqdm as bar

if TYPE_CHECKING:
    from collections.abc import Iterator

__version__ = "1"
CHECKPOINT_SECONDS: float = 30
NAMES = {"a": 1, **{"é": 2.5}, "中": 1e300, "\\n": None, "z": (1j, b"\\xff", ..., 10**20, -0.0)}
logger = logging.getLogger(__name__)


def step(x: int, /, y=3, *rest, key: str = "k", **more) -> int:
    """Compute."""
    assert x > 0, "x is positive"
    with progress("features", total=x) as advance:
        for item in bar(rest, desc="items"):
            advance(item)
    print("working", file=sys.stderr)
    print(x, file=more["stream"])
    logger.info("%s items", len(rest))
    warnings.warn("old", stacklevel=2)
    time.sleep(0.1)
    if y:
        raise DataError(f"{x}: is wrong. " "Change it.")
    try:
        value = f"{x!r:>{y}}" f"b{key=}c" "d" if (n := x % 2) else lambda: 0
    except (OSError, ValueError) as error:
        raise StopIteration(value) from error
    match value:
        case [1, *_] | {"a": str()}:
            return not -x ** 2 <= y < 3
    parser.add_argument("--x", help="the x", choices=("a", "b"))
    return [v for v in more if v][::2]
'''
GOLDEN = "6b7338cecde03b5eb29d1632705b0736a0673d9fed7827e1d2c4de3e15522fd5"


def digest(source: str) -> str:
    return hashlib.sha256(canonical.read(source)[0].encode()).hexdigest()


def edited(old: str, new: str) -> str:
    assert SOURCE.count(old) == 1, old
    return SOURCE.replace(old, new)


def pythons() -> list[str]:
    """Return one installed Python of every version from 3.11 except the one that runs the tests."""
    folders = [*Path("~/.pyenv/versions").expanduser().glob("*/bin"), Path("/usr/bin"), Path("/usr/local/bin")]
    others = [minor for minor in range(11, 30) if minor != sys.version_info.minor]
    named = [[folder / f"python3.{minor}" for folder in folders] for minor in others]
    return [str(next(path for path in paths if path.is_file())) for paths in named if any(map(Path.is_file, paths))]


def test_the_form_of_a_source_has_not_changed():
    """Another value makes every job of every user due, so change it only deliberately."""
    assert digest(SOURCE) == GOLDEN


@pytest.fixture(scope="module")
def digests() -> dict[Path, str]:
    """The digest of every source of the project, in the Python that runs the tests."""
    return {file: digest(file.read_text(encoding="utf-8")) for file in sorted(fingerprint.SCRIPTS.rglob("*.py"))}


@pytest.mark.parametrize("python", pythons())
def test_the_form_is_the_same_in_every_python(python, digests, tmp_path):
    (tmp_path / "canonical.py").write_bytes(Path(canonical.__file__).read_bytes())
    program = "import sys, hashlib, canonical; [print(hashlib.sha256(canonical.read(open(f, 'rb').read())[0].encode())"
    program += ".hexdigest()) for f in sys.argv[1:]]"
    (tmp_path / "source.py").write_text(SOURCE, encoding="utf-8")
    command = [python, "-c", program, str(tmp_path / "source.py"), *map(str, digests)]
    output = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()
    assert output == [GOLDEN, *digests.values()]


MESSAGES = {
    "the version": ('"1"', '"2"'),
    "the interval of saving progress": ("= 30", "= 60"),
    "a module's docstring": ('"""A module."""', ""),
    "a docstring": ('    """Compute."""\n', '    """Compute\n    it."""\n'),
    "a comment": ("    if y:", "    # or else\n    if y:  # then"),
    "an import for types": ("    from collections.abc import Iterator\n", "    from pathlib import Path\n"),
    "the message of an assertion": ('"x is positive"', '"x must be positive"'),
    "an assertion's message removed": (', "x is positive"', ""),
    "the label of a progress message": ('"features"', '"all features"'),
    "the label of a bar": ('desc="items"', 'desc="things", unit="B"'),
    "a printed text": ('"working"', 'f"working on {x} of {len(rest)}"'),
    "a print removed": ('    print("working", file=sys.stderr)\n', ""),
    "a print added": ("    time.sleep(0.1)\n", '    time.sleep(0.1)\n    print("slept", ", ".join(map(str, rest)))\n'),
    "a logged text": ('"%s items"', '"items: %s"'),
    "a warning": ('warnings.warn("old", stacklevel=2)', 'warnings.warn("old, do not use", FutureWarning)'),
    "a waiting time": ("time.sleep(0.1)", "time.sleep(5)"),
    "the text of an error": ("is wrong. ", "is mistaken. "),
    "an error's text reworded": ('f"{x}: is wrong. " "Change it."', '"wrong: %s" % x'),
    "an error's text removed": ('DataError(f"{x}: is wrong. " "Change it.")', "DataError"),
    "a help text": ('help="the x"', 'help="the x of the y", metavar="X"'),
}


@pytest.mark.parametrize("edit", MESSAGES)
def test_changes_of_messages_only_do_not_count(edit):
    assert digest(edited(*MESSAGES[edit])) == digest(SOURCE)


COMPUTES = {
    "a key": ('"a": 1', '"b": 1'),
    "a number": ("2.5", "2.25"),
    "a type of number": ("10**20", "10.0**20"),
    "a sign of zero": ("-0.0", "0.0"),
    "bytes": ("xff", "xfe"),
    "a default": ("y=3", "y=4"),
    "a default text": ('"k"', '"l"'),
    "a condition asserted": ("x > 0", "x >= 0"),
    "the iterable of a progress bar": ("bar(rest,", "bar(rest[1:],"),
    "the total of a progress message": ("total=x", "total=y"),
    "a text written into a file": ("print(x, file=more", "print(y, file=more"),
    "a call in a printed text": ('"working"', '"working", next(more)'),
    "a call in a logged text": ("len(rest)", "rest.pop()"),
    "an assignment in a printed text": ('"working"', '"working", (y := 2)'),
    "a call in a waiting time": ("time.sleep(0.1)", "time.sleep(next(more))"),
    "the class of an error": ("raise DataError(", "raise ValueError("),
    "a value that an error carries": ("StopIteration(value)", "StopIteration(x)"),
    "when an error is raised": ("if y:", "if not y:"),
    "a format": ("!r:>", "!s:>"),
    "a width": (":>{y}", ":<{y}"),
    "a string value": ("b{key=}c", "b{key=}d"),
    "choices of an argument": ('("a", "b")', '("a", "c")'),
    "an argument's name": ('"--x"', '"--y"'),
    "a pattern": ('{"a": str()}', '{"b": str()}'),
    "an operator": ("<= y <", "< y <"),
    "a step": ("[::2]", "[::3]"),
    "another function of the same name": (
        "logger = logging.getLogger(__name__)",
        "logger = logging.getLogger(__name__)\n\n\ndef print(*values, file=None):\n    return NAMES.update(values)",
    ),
}


@pytest.mark.parametrize("edit", COMPUTES)
def test_changes_of_computation_count(edit):
    assert digest(edited(*COMPUTES[edit])) != digest(SOURCE)


def test_a_print_other_than_the_built_in_counts():
    own = "def print(x):\n    {}.update(x)\n\nprint({!r})\n"
    assert digest(own.format("A", "a")) != digest(own.format("A", "b"))


def test_every_excluded_name_and_module_exists():
    package = fingerprint.SCRIPTS / "nmer"
    text = "\n".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    assert all(re.search(rf"^{name}(: \w+)? = ", text, re.MULTILINE) for name in canonical.UNCOUNTED)
    assert all((fingerprint.SCRIPTS / module).is_file() for module in fingerprint.ONLY_TALK)


def test_the_message_of_an_error_that_another_function_raises_does_not_count():
    source = "from nmer.errors import DataError\nfrom nmer.content import converting\n"
    source += "def fault(path):\n    return DataError(f'{path}: is wrong')\n"
    source += "def read(path):\n    with converting(path, 'Delete it.'):\n        return f'{path}.csv'\n"
    assert digest(source.replace("is wrong", "is bad").replace("Delete", "Remove")) == digest(source)
    assert digest(source.replace(".csv", ".tsv")) != digest(source)
    assert digest(source.replace("(path, '", "(path[1:], '")) != digest(source)


PIECES = """
def read(path, names):
    hint = f"No such file: {path}." if path else nearest(path, names)
    note = "Change it."
    if names:
        raise DataError(f"{path}: is wrong. {hint} {note}")
    message = "It is empty."
    message += " Fill it."
    raise DataError(message)
"""


@pytest.mark.parametrize(
    ("old", "new", "counts"),
    [
        ("No such file", "There is no file", False),
        ("Change it.", "Correct it.", False),
        ("It is empty.", "Nothing is in it.", False),
        (" Fill it.", " Fill it up.", False),
        ("nearest(path, names)", "nearest(path, names[1:])", True),
        ("raise DataError(message)", "return message", True),
        ("if names:", "if not names:", True),
    ],
)
def test_an_error_message_in_a_variable_does_not_count(old, new, counts):
    assert PIECES.count(old) == 1
    assert (digest(PIECES.replace(old, new)) != digest(PIECES)) == counts


@pytest.mark.parametrize(
    "use",
    [
        "return name",
        "write(name)",
        "names.append(name)",
        "name = 3",
        "x = f'{name}'; write(x)",
        "for name in names: pass",
    ],
)
def test_text_used_for_more_than_a_message_counts(use):
    source = "def f(names):\n    name = 'a'\n    {}\n    raise KeyError(name)\n"
    assert digest(source.format(use)) != digest(source.format(use).replace("'a'", "'b'"))


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    global name\n    name = 'a'\n",
        "def f():\n    class A:\n        name = 'a'\n    return A\n",
        "def f():\n    name = 'b'\n    def g():\n        nonlocal name\n        name = 'a'\n    g()\n    return name\n",
        "def f(name='a'):\n    raise KeyError(f'{name}') if name == 'b' else 3\n",
        "name = 'a'\ndef f():\n    raise KeyError(name)\n",
        "def f():\n    name = 'a'\n    return lambda: name\n",
    ],
)
def test_text_that_another_scope_can_read_counts(source):
    assert digest(source) != digest(source.replace("'a'", "'c'"))
