"""Steps take one JSON string and end a user's error in one line."""

from __future__ import annotations

import pytest

from nmer import command
from nmer.errors import ConfigError, DataError


def test_settings_are_a_json_object():
    assert command.settings('{"dataset": "mosi", "folds": [1, 2]}') == {"dataset": "mosi", "folds": [1, 2]}


@pytest.mark.parametrize("text", ["{", "", "[1]", "3", "null", '"text"'])
def test_anything_else_is_refused(text):
    with pytest.raises(ConfigError, match="--settings"):
        command.settings(text)


def test_a_users_error_ends_in_one_line_and_status_1(capsys):
    def step():
        raise DataError("x.h5: cannot be read.")

    with pytest.raises(SystemExit) as ending:
        command.run(step)
    said = capsys.readouterr()
    assert (ending.value.code, said.out, said.err) == (1, "", "error: x.h5: cannot be read.\n")


def test_an_error_of_ours_keeps_its_traceback():
    def step():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command.run(step)


def test_a_steps_help_shows_its_docstring_as_written(capsys):
    with pytest.raises(SystemExit):
        command.parser("First line.\n\n  An equation: x = y").parse_args(["--help"])
    assert "First line.\n\n  An equation: x = y" in capsys.readouterr().out
