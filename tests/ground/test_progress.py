"""A long step reports progress, a short one nothing."""

from __future__ import annotations

import io
import sys

import pytest

from nmer import progress as progress_module
from nmer.progress import progress


class Clock:
    """A fake ``time`` module, advanced by the tests."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr(progress_module, "time", fake)
    return fake


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work(clock: Clock, seconds: int) -> None:
    """Simulate a step that processes 1 MB per second."""
    with progress("features of x", seconds * 1_000_000) as advance:
        for _second in range(seconds):
            clock.now += 1
            advance(1_000_000)


def test_a_log_file_gets_a_line_every_ten_seconds(clock, capsys):
    work(clock, 40)
    output = capsys.readouterr()
    assert output.out == ""
    lines = output.err.splitlines()
    assert [line.split(" %")[0] for line in lines] == [f"features of x: {share}" for share in (25, 50, 75, 100)]
    assert lines[0] == "features of x: 25 % (10.0MB of 40.0MB) after 00:10, 00:30 to go, 1.00MB/s"


def test_a_step_that_ends_within_ten_seconds_leaves_the_log_file_empty(clock, capsys):
    work(clock, 9)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("delay", [0.0, 1000.0])
def test_a_terminal_gets_a_bar_unless_the_step_ends_at_once(clock, monkeypatch, delay):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress_module, "TERMINAL_DELAY_SECONDS", delay)
    work(clock, 3)
    assert ("features of x: 100%" in terminal.getvalue()) == (delay == 0)
    assert bool(terminal.getvalue()) == (delay == 0)
