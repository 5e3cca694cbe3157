"""Messages about a misspelt name list the choices, and every message has one line."""

from __future__ import annotations

import pytest

from nmer import errors


def test_a_near_miss_suggests_the_nearest_name():
    assert errors.nearest("gausian", ["impulse", "gaussian"]) == "Did you mean 'gaussian'?"


def test_a_far_miss_lists_all_names_sorted():
    assert errors.nearest("xyz", ["impulse", "gaussian"]) == "Known names: gaussian, impulse."


def test_an_empty_choice_is_reported_as_empty():
    assert "none" in errors.nearest("xyz", [])


def test_a_list_that_is_cut_ends_in_an_ellipsis():
    assert errors.listed(["u1", "u2"], 2) == "u1, u2"
    assert errors.listed(["u1", "u2"], 3) == "u1, u2, …"
    assert errors.listed([1], 1) == "1"


@pytest.mark.parametrize("kind", [errors.ConfigError, errors.DataError, errors.TrainingError])
def test_steps_print_every_error_of_the_package_without_a_traceback(kind):
    assert issubclass(kind, errors.NmerError)


@pytest.mark.parametrize("break_", ["\n", "\r\n", "\u2028", "\x0b"])
def test_a_message_that_quotes_a_line_break_has_one_line(break_):
    assert str(errors.ConfigError(f"experiment: unknown name 'a{break_}b'.")) == r"experiment: unknown name 'a\nb'."
