"""Digests of raw files are remembered by size and time and recomputed when either changes."""

from __future__ import annotations

import hashlib
import os

import pytest

from nmer.errors import DataError
from nmer.plan import sources
from nmer.plan.sources import source_digests


@pytest.fixture
def read(monkeypatch):
    """Names of the files that are read, in order."""
    names, digest = [], sources.file_digest

    def spy(file):
        names.append(file.name)
        return digest(file)

    monkeypatch.setattr(sources, "file_digest", spy)
    return names


@pytest.fixture
def raw(tmp_path):
    for name in ("x.h5", "y.h5"):
        (tmp_path / name).write_bytes(name.encode())
        os.utime(tmp_path / name, ns=(10**18, 10**18))
    return [tmp_path / "x.h5", tmp_path / "y.h5"]


def expected(files) -> dict[str, str]:
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_a_file_is_read_once(raw, tmp_path, read):
    record = tmp_path / "memory" / "digests.json"
    assert source_digests(raw, record) == expected(raw)
    assert source_digests(raw, record) == expected(raw)
    assert read == ["x.h5", "y.h5"]


def test_a_touched_file_is_read_again_and_keeps_its_digest(raw, tmp_path, read):
    record = tmp_path / "digests.json"
    before = source_digests(raw, record)
    os.utime(raw[0], ns=(2 * 10**18, 2 * 10**18))
    assert source_digests(raw, record) == before
    assert read == ["x.h5", "y.h5", "x.h5"]


def test_an_edited_file_has_a_new_digest(raw, tmp_path):
    record = tmp_path / "digests.json"
    before = source_digests(raw, record)
    raw[1].write_bytes(b"other")
    after = source_digests(raw, record)
    assert after == expected(raw)
    assert after[str(raw[1])] != before[str(raw[1])]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff"])
def test_a_damaged_record_of_digests_is_ignored(raw, tmp_path, content):
    record = tmp_path / "digests.json"
    record.write_bytes(content)
    assert source_digests(raw, record) == expected(raw)
    assert source_digests(raw, record) == expected(raw)


def test_a_file_of_the_same_size_and_time_but_other_content_has_a_new_digest(raw, tmp_path):
    record = tmp_path / "digests.json"
    before = source_digests(raw, record)
    times = raw[0].stat()
    raw[0].write_bytes(b"X.h5")
    os.utime(raw[0], ns=(times.st_atime_ns, times.st_mtime_ns))
    assert source_digests(raw, record) != before


def test_the_record_of_digests_contains_no_paths(raw, tmp_path):
    record = tmp_path / "digests.json"
    source_digests(raw, record)
    assert str(tmp_path) not in record.read_text()
    assert "x.h5" not in record.read_text()


@pytest.mark.parametrize("change", [lambda file: file.write_bytes(b"0"), lambda file: file.unlink(), os.utime])
def test_a_file_that_changes_while_it_is_read_is_named(raw, change):
    unchanged = sources.Unchanged(raw)
    unchanged.check()
    change(raw[1])
    with pytest.raises(DataError, match=r"y\.h5: was changed while it was being read. Run again"):
        unchanged.check()
