"""GPU slots are locked in a private folder, and a waiting job reports the holder."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from nmer import locks
from nmer.errors import DataError


def test_the_folder_of_the_locks_is_private(tmp_path):
    folder = tmp_path / "locks"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    with locks.locked_slot(["0"], 1, folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with locks.locked_slot(["0"], 1, tmp_path / "new"):
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


@pytest.mark.parametrize("place", ["of another user", "a link", "a file"])
def test_an_unsafe_folder_of_locks_is_refused_in_one_line(tmp_path, place):
    folder = tmp_path / "locks"
    if place == "a file":
        folder.touch()
    elif place == "a link":
        (tmp_path / "theirs").mkdir()
        folder.symlink_to(tmp_path / "theirs")
    elif os.geteuid() == 0:
        folder.mkdir()
        os.chown(folder, 12345, 12345)
    else:
        pytest.skip("needs the right to give a folder away")
    with (
        pytest.raises(DataError, match=r"locks: the GPU locks belong here, but it is not a folder that you own\. .*"),
        locks.locked_slot(["0"], 1, folder),
    ):
        raise AssertionError


def test_a_folder_where_a_lock_is_expected_is_refused_without_waiting(tmp_path):
    (tmp_path / "gpu0_0.lock").mkdir()
    with (
        pytest.raises(
            DataError, match=r"gpu0_0\.lock: is a folder, but must be a lock file\. Remove it and run again\."
        ),
        locks.locked_slot(["0"], 1, tmp_path),
    ):
        raise AssertionError


def test_a_waiting_job_reports_the_holder_once(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(locks, "SECONDS_OF_SILENCE", 0.2)
    taken = threading.Event()

    def wait() -> None:
        with locks.locked_slot(["7"], 1, tmp_path):
            taken.set()

    waiting = threading.Thread(target=wait, daemon=True)
    with locks.locked_slot(["7"], 1, tmp_path):
        waiting.start()
        assert not taken.wait(1)
    assert taken.wait(10)
    waiting.join(10)
    output = capfd.readouterr().err
    assert output == f"Waiting for a free GPU. Held: GPU 7 by process {os.getpid()} in {Path.cwd()}.\n"
