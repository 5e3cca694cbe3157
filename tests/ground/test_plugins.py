"""Plug-ins are found by name, read without import, and imported one at a time."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

import nmer
from nmer.errors import ConfigError
from nmer.noise.registry import noise_kinds
from nmer.plugins import Registry
from nmer.systems.registry import regimes, systems

RAISING = """
raise RuntimeError("imported")

@system("mine", pretraining="men", regimes=("incomplete",))
class Mine:
    width: int = 3
    name: str = "x"
"""

NOISE = """
from nmer.noise.registry import noise_kind

@noise_kind("constant")
def constant(shape, generator, *, height: float = 2.0, sign: int = -1):
    return (height * sign, shape)
"""


@pytest.fixture
def file(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "mine.py"
        path.write_text(text)
        return str(path)

    return write


def test_a_declaration_is_read_without_importing_the_file(file):
    found = systems.declaration("mine", file(RAISING))
    assert found.options == {"width": 3, "name": "x"}
    assert found.attributes == {"pretraining": "men", "regimes": ("incomplete",)}


def test_a_functions_options_are_its_keyword_arguments_with_their_defaults(file):
    assert noise_kinds.declaration("constant", file(NOISE)).options == {"height": 2.0, "sign": -1}


def test_a_custom_file_is_loaded_by_name(file):
    assert noise_kinds.load("constant", file(NOISE))((2, 3), None) == (-2.0, (2, 3))


def test_a_custom_file_gives_the_same_object_until_it_changes(file, tmp_path):
    path = file(NOISE)
    first = noise_kinds.load("constant", path)
    other = tmp_path / "other_file.py"
    other.write_text(NOISE)
    assert noise_kinds.load("constant", str(other)) is not first
    assert noise_kinds.load("constant", path) is first
    Path(path).write_text(NOISE.replace("= 2.0", "= 3.0"))
    # An edit a second later: Python finds a compiled file by the size and the whole seconds of its source.
    os.utime(path, (time.time() + 1, time.time() + 1))
    assert noise_kinds.load("constant", path)((1,), None) == (-3.0, (1,))


def test_a_custom_file_can_contain_several_plug_ins(file):
    path = file(NOISE + '\n\n@noise_kind("other")\ndef other(shape, generator, *, level=1):\n    return level\n')
    assert noise_kinds.declaration("other", path).options == {"level": 1}
    assert noise_kinds.load("other", path)(None, None) == 1


def test_reading_the_built_in_declarations_does_not_import_torch():
    assert {"men", "mctn", "nmer", "shared", "two_tower", "unimodal_a"} <= set(systems.shipped())
    assert {"gaussian", "impulse"} <= set(noise_kinds.shipped())
    loaded = set(sys.modules)
    for name in systems.shipped():
        assert set(regimes(systems.declaration(name))) <= {"clean", "incomplete", "all_noisy"}
    assert set(sys.modules) == loaded


def test_modules_without_plug_ins_are_not_listed():
    files = {path.stem for path in (Path(nmer.__file__).with_name("systems")).glob("*.py")}
    with_plugins = {systems.path(name).stem for name in systems.shipped()}
    assert files - with_plugins == {"__init__", "interface", "registry", "building"}


def test_the_message_on_a_misspelt_name_suggests_the_nearest():
    with pytest.raises(ConfigError, match=r"Unknown system 'nmr'\. Did you mean 'nmer'\?"):
        systems.declaration("nmr")
    with pytest.raises(ConfigError, match=r"Unknown noise kind 'gaussain'\. Did you mean 'gaussian'\?"):
        noise_kinds.load("gaussain")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.py"):
        systems.load("mine", str(tmp_path / "absent.py"))


def test_a_file_that_does_not_declare_the_name_is_refused(file):
    path = file(NOISE)
    with pytest.raises(ConfigError, match="declares no noise kind 'another'"):
        noise_kinds.declaration("another", path)
    with pytest.raises(ConfigError, match="declares no noise kind 'another'"):
        noise_kinds.load("another", path)
    with pytest.raises(ConfigError, match="declares no system 'constant'"):
        systems.declaration("constant", path)


def test_a_file_that_is_not_python_is_refused_with_its_line(file):
    with pytest.raises(ConfigError, match=r"mine\.py, line 2: not valid Python"):
        systems.declaration("mine", file("x = 1\nclass :\n"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1"])
def test_a_file_may_be_in_any_encoding_that_python_reads(file, encoding):
    path = Path(file(NOISE))
    path.write_bytes(f"# coding: {encoding}\n# é\n{NOISE}".encode(encoding))
    assert noise_kinds.declaration("constant", str(path)).name == "constant"
    assert noise_kinds.load("constant", str(path))


def test_a_declaration_that_must_be_computed_is_refused_with_its_line(file):
    text = '@system("mine", pretraining=2 * undefined)\nclass Mine:\n    pass\n'
    with pytest.raises(ConfigError, match=r"line 1: the declaration of 'mine' must consist of plain values"):
        systems.declaration("mine", file(text))


def test_a_declaration_that_unpacks_a_dictionary_is_refused_with_its_line(file):
    # Its keys are not seen, and what is declared there would be lost.
    text = '@system("mine", **{"pretraining": "men"})\nclass Mine:\n    pass\n'
    with pytest.raises(ConfigError, match=r"line 1: the declaration of 'mine' must consist of plain values"):
        systems.declaration("mine", file(text))


def test_a_file_without_the_suffix_py_is_refused_with_a_remedy(file):
    path = Path(file(NOISE)).rename(Path(file(NOISE)).with_suffix(".txt"))
    with pytest.raises(ConfigError, match=r"mine\.txt: .* Name it mine\.py"):
        noise_kinds.declaration("constant", str(path))


def test_every_built_in_plug_in_is_found_and_a_file_can_contain_several():
    for registry in (systems, noise_kinds):
        assert isinstance(registry, Registry)
        for name in registry.shipped():
            assert registry.declaration(name).name == name
    assert {systems.path(f"unimodal_{modality}").name for modality in "avl"} == {"unimodal.py"}
    with pytest.raises(ConfigError, match=r"Unknown system 'unimodal'\. Did you mean 'unimodal_[avl]'\?"):
        systems.path("unimodal")
