"""Digests equal those of sha256sum, and changed files are detected."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess

import pytest

from nmer import digests
from nmer.errors import DataError


@pytest.fixture(autouse=True)
def _small_files_are_remembered_too(monkeypatch):
    monkeypatch.setattr(digests, "REMEMBERED_FROM_BYTES", 0)


def test_a_files_digest_is_its_sha256(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "x").write_bytes(content)
    assert digests.file_digest(tmp_path / "x") == hashlib.sha256(content).hexdigest()


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs the program sha256sum (GNU coreutils)")
def test_sha256sum_checks_a_written_digest_and_notices_a_change(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"weights")
    folder = tmp_path / "corpus"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "x").write_bytes(b"x")
    (folder / "y").write_bytes(b"y")
    for path, members in ((tmp_path / "model.bin", 1), (folder, 2)):
        digests.write_digest(path)
        assert len(digests.digest_path(path).read_text().splitlines()) == members
        check = ["sha256sum", "--check", "--strict", digests.digest_path(path).name]
        assert subprocess.run(check, cwd=tmp_path, capture_output=True).returncode == 0
    (folder / "sub" / "x").write_bytes(b"z")
    assert subprocess.run(check, cwd=tmp_path, capture_output=True).returncode != 0


def test_a_digest_is_next_to_its_file(tmp_path):
    assert digests.digest_path(tmp_path / "x.h5") == tmp_path / "x.h5.sha256"


def test_a_file_is_compared_with_its_digest_file(tmp_path):
    path = tmp_path / "x.h5"
    path.write_bytes(b"features")
    digests.check_digests(path, None)
    digests.write_digest(path)
    digests.check_digests(path)
    path.write_bytes(b"featurez")
    with pytest.raises(DataError, match=r"x\.h5: is damaged or was changed after .*Delete .*x\.h5 and run"):
        digests.check_digests(path)


def test_every_file_of_a_folder_is_compared_and_a_missing_one_is_named(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "a").touch()
    (folder / "b").touch()
    digests.write_digest(folder)
    digests.check_digests(folder)
    (folder / "b").unlink()
    with pytest.raises(DataError, match=r"corpus/b: is missing"):
        digests.check_digests(folder)


def rewrite(path, content):
    """Write content of the same size and restore the time of writing; only the file system's change time differs."""
    before = path.stat()
    while path.stat().st_ctime_ns == before.st_ctime_ns:
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """Names of the files that are read."""
    found, whole = [], digests.file_digest
    monkeypatch.setattr(digests, "file_digest", lambda member: found.append(member.name) or whole(member))
    return found


def test_a_file_is_read_once_when_it_is_made_and_again_only_after_a_change(tmp_path, read):
    path = tmp_path / "x.h5"
    path.write_bytes(b"features")
    digests.write_digest(path)
    for _ in range(3):
        digests.check_digests(path)
    assert read == ["x.h5"]
    rewrite(path, b"featurez")
    for _ in range(2):
        with pytest.raises(DataError, match=r"x\.h5: is damaged"):
            digests.check_digests(path)
    rewrite(path, b"features")
    for _ in range(2):
        digests.check_digests(path)
    assert read == ["x.h5"] * 4
    (tmp_path / ".x.h5.checked").write_bytes(b"\xff")
    digests.check_digests(path)
    assert read == ["x.h5"] * 5


def test_a_change_while_the_digest_is_computed_is_noticed(tmp_path, monkeypatch):
    path, whole = tmp_path / "x.h5", digests.file_digest
    path.write_bytes(b"features")

    def changed(member):
        found = whole(member)
        rewrite(path, b"featurez")
        return found

    monkeypatch.setattr(digests, "file_digest", changed)
    digests.write_digest(path)
    monkeypatch.setattr(digests, "file_digest", whole)
    with pytest.raises(DataError, match=r"x\.h5: is damaged"):
        digests.check_digests(path)


def test_a_folder_is_read_once(tmp_path, read):
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "b").write_bytes(b"b")
    (folder / "a").write_bytes(b"a")
    digests.write_digest(folder)
    digests.check_digests(folder)
    assert read == ["a", "b"]


def test_small_files_are_not_remembered(tmp_path, read, monkeypatch):
    monkeypatch.setattr(digests, "REMEMBERED_FROM_BYTES", 9)
    path = tmp_path / "x.h5"
    path.write_bytes(b"features")
    digests.write_digest(path)
    digests.check_digests(path)
    assert read == ["x.h5"] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.h5", "x.h5.sha256"]


def test_a_new_digest_is_compared_with_an_unchanged_file(tmp_path):
    path = tmp_path / "x.h5"
    path.write_bytes(b"features")
    digests.write_digest(path)
    digests.check_digests(path)
    (tmp_path / "x.h5.sha256").write_text(f"{64 * '0'}  x.h5\n")
    with pytest.raises(DataError, match=r"x\.h5: is damaged"):
        digests.check_digests(path)


def test_a_file_is_compared_every_time_if_no_record_can_be_written(tmp_path, read, monkeypatch):
    path = tmp_path / "x.h5"
    path.write_bytes(b"features")
    digests.digest_path(path).write_text(f"{digests.file_digest(path)}  x.h5\n")
    read.clear()

    def refused(*_arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(digests, "write_text", refused)
    digests.check_digests(path)
    digests.check_digests(path)
    assert read == ["x.h5"] * 2


def test_a_file_without_a_digest_file_is_compared_with_its_record(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("0.5\n")
    digests.record_path(path).write_text(json.dumps({"sha256": digests.file_digest(path)}))
    digests.check_digests(path)
    assert str(path) in digests.compared
    path.write_text("0.6\n")
    with pytest.raises(DataError, match=r"scores.csv: is damaged or was changed after it was made .* run again\."):
        digests.check_digests(path)


@pytest.mark.parametrize("record", [None, "", "{", "[1]", "{}", b"\xff"])
def test_a_file_without_a_digest_in_its_record_is_not_compared(tmp_path, record):
    path = tmp_path / "scores.csv"
    path.write_text("0.5\n")
    if record is not None:
        digests.record_path(path).write_bytes(record if isinstance(record, bytes) else record.encode())
    digests.check_digests(path)
    assert digests.recorded(path) in (None, {})
