"""The reason of a failure is found in the log of its step."""

from __future__ import annotations

import os

from nmer.failures import reasons


def write(path, text: str, written: float = 200.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (written, written))


def test_the_last_error_of_every_log_is_listed_with_its_file_and_equal_ones_once(tmp_path):
    write(tmp_path / "a" / "fold1.log", "warning: x\nerror: first\nerror: No space left.\n")
    write(tmp_path / "a" / "fold2.log", "error: No space left.\n\n")
    write(tmp_path / "b.log", "Traceback (most recent call last):\n  File x\nValueError: y\n")
    write(tmp_path / "fine.log", "warning: nothing bad\n")
    write(tmp_path / "empty.log", "")
    write(tmp_path / "before.log", "error: of another run\n", written=50.0)
    (tmp_path / "no text.log").write_bytes(b"\xff\xfe")
    assert reasons(tmp_path, since=100.0) == [
        f"{tmp_path / 'a' / 'fold1.log'} and 1 more: error: No space left.",
        f"{tmp_path / 'b.log'}: ValueError: y",
    ]


def test_many_reasons_are_truncated_and_a_missing_folder_has_none(tmp_path):
    for number in range(25):
        write(tmp_path / f"{number:02}.log", f"error: {number}\n")
    listed = reasons(tmp_path, since=0)
    assert len(listed) == 21
    assert listed[-1] == "… and 5 other reasons."
    assert reasons(tmp_path / "none", since=0) == []
