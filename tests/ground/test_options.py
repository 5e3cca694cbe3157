"""Options are read from annotations in a file, its base classes and its imports, without importing it."""

from __future__ import annotations

import pytest

from nmer.errors import ConfigError
from nmer.noise.registry import noise_kinds
from nmer.options import Bounds, Option
from nmer.systems.registry import systems

HEAD = """raise RuntimeError("imported")
from typing import Annotated, ClassVar, Literal
from nmer.options import Bounds, Weight
from nmer.systems.blocks.towers import InvariantSystem

"""


@pytest.fixture
def declared(tmp_path):
    def read(text: str, name: str = "mine", registry=systems) -> dict[str, Option]:
        file = tmp_path / "mine.py"
        file.write_text(HEAD + text)
        return registry.declaration(name, str(file)).declared

    return read


def own(*lines: str) -> str:
    return '@system("mine")\n' + "\n    ".join(["class Mine:", *lines]) + "\n"


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("x: int = 3", Option(3)),
        ("x: bool = True", Option(True)),
        ("x: Annotated[float, Bounds(-1, 2.5)] = 0.5", Option(0.5, Bounds(-1, 2.5))),
        ("x: Annotated[float, 'a remark', Bounds(most=2)] = 0.5", Option(0.5, Bounds(None, 2))),
        ("x: 'Annotated[int, Bounds(1)]' = 2", Option(2, Bounds(1))),
        ("x: Literal['a', 'b'] = 'a'", Option("a", choices=("a", "b"))),
        ("x: Literal[4] = 4", Option(4, choices=(4,))),
        ("x: Annotated[Literal[1, 2], Bounds(1)] = 1", Option(1, Bounds(1), (1, 2))),
        ("x: Weight = 0.1", Option(0.1, Bounds(0.0))),
    ],
)
def test_an_annotated_attribute_is_an_option_with_the_limits_of_its_annotation(declared, line, option):
    assert declared(own(line)) == {"x": option}


@pytest.mark.parametrize(
    "line", ["x = 3", "x: int", "x: ClassVar[int] = 3", "x: tuple[str, ...] = ('a',)", "x: dict[str, int] = {}"]
)
def test_other_attributes_are_not_options(declared, line):
    assert declared(own(line)) == {}


def test_an_annotation_can_be_a_name_that_the_file_defines(declared):
    assert declared("Rate = Annotated[float, Bounds(0, 1)]\n" + own("x: Rate = 0.5")) == {
        "x": Option(0.5, Bounds(0, 1))
    }


def test_a_class_inherits_the_options_of_its_bases_and_can_change_or_fix_them(declared):
    text = "class Base:\n    a: int = 1\n    b: Literal[1, 2] = 1\n    c: int = 3\n\n"
    text += own("b: Literal[1, 2, 3] = 3", "c = 4", "d: int = 5").replace("Mine:", "Mine(Base):")
    assert declared(text) == {"a": Option(1), "b": Option(3, choices=(1, 2, 3)), "d": Option(5)}


def test_a_base_class_and_its_annotations_are_followed_into_the_package(declared):
    found = declared(own("invariance_weight: Weight = 2.0").replace("Mine:", "Mine(InvariantSystem):"))
    assert found["invariant_features"] == Option("raw", choices=("raw", "sigmoid", "tanh"))
    assert found["invariance_weight"] == Option(2.0, Bounds(0.0))


@pytest.mark.parametrize(
    "text",
    [
        "from nmer.systems.blocks import towers\n" + own().replace("Mine:", "Mine(towers.InvariantSystem): ..."),
        "import nmer.systems.blocks.towers as t\n" + own().replace("Mine:", "Mine(t.InvariantSystem): ..."),
        "import nmer\n" + own().replace("Mine:", "Mine(nmer.systems.blocks.towers.InvariantSystem): ..."),
        own().replace("Mine:", "InvariantSystem(InvariantSystem): ..."),
    ],
)
def test_a_base_class_can_be_named_in_any_way(declared, text):
    assert "invariant_features" in declared(text)


def test_a_function_with_keyword_arguments_has_the_options_of_the_class_that_it_returns(declared):
    text = "class Base:\n    a: int = 1\n\n"
    text += '@system("mine")\ndef mine(dims, *, form: Literal["x", "y"] = "x", **options) -> Base: ...\n'
    assert declared(text) == {"a": Option(1), "form": Option("x", choices=("x", "y"))}


def test_the_options_of_a_function_are_limited_by_their_annotations(declared):
    text = '@noise_kind("mine")\ndef mine(shape, generator, *, rate: Annotated[float, Bounds(0, 1)] = 0.5): ...\n'
    assert declared(text, registry=noise_kinds) == {"rate": Option(0.5, Bounds(0, 1))}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (own("x: int = WIDTH"), "line 8: a default and its limits must be plain values"),
        (own("x: Annotated[int, Bounds(LEAST)] = 1"), "line 8: a default and its limits must be plain values"),
        (own("x: Annotated[int, Bounds(1, 2, 3)] = 1"), "line 8: a default and its limits must be plain values"),
        (own("x: Literal[Y] = 1"), "line 8: a default and its limits must be plain values"),
        (own("def __init__(self, dims, *, x=1): ..."), "takes 'x', which is no option. Declare it in the class"),
        (own("x: int = 1", "def __init__(self, dims): ..."), "takes no options. Write __init__(self, dims"),
        ('@system("mine", options={"x": 1})\nclass Mine: ...\n', "@system takes no 'options'. Declare the option in"),
        ('@system("mine", minimum={"x": 1})\nclass Mine: ...\n', "@system takes no 'minimum'. Annotate the option"),
        ('@system("mine", choices={"x": (1,)})\nclass Mine: ...\n', "@system takes no 'choices'. Annotate the option"),
    ],
)
def test_a_declaration_that_cannot_be_read_is_refused_with_its_line_and_a_remedy(declared, tmp_path, text, message):
    with pytest.raises(ConfigError) as raised:
        declared(text)
    assert str(tmp_path / "mine.py") in str(raised.value)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        (Option(5), 5.5, "5.5 is not like its default 5. Correct it."),
        (Option(5), True, "True is not like its default 5. Correct it."),
        (Option(0.5), 1, ""),
        (Option(0.5, Bounds(0, 1)), float("nan"), "nan is too small. Give at least 0."),
        (Option(0.5, Bounds(0, 1)), 1, ""),
        (Option(0.5, Bounds(0, 1)), 1.5, "1.5 is too large. Give at most 1."),
        (Option("a", choices=("a", "b")), "c", "'c' is not possible. Choose from: a, b."),
    ],
)
def test_the_message_on_an_invalid_value_lists_the_valid_ones(option, value, reason):
    assert option.reject(value) == reason
