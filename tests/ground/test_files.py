"""Files are written whole or not at all, equal content makes equal files, and digests are those of sha256sum."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
import time

import pytest

from nmer import files
from nmer.errors import DataError


def names_in(folder) -> set[str]:
    return {path.name for path in folder.rglob("*")}


def test_a_file_appears_only_when_its_block_has_ended(tmp_path):
    target = tmp_path / "new" / "x.txt"
    with files.atomic_path(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        assert temporary.parent == target.parent
    assert target.read_text() == "half"
    assert names_in(tmp_path) == {"new", "x.txt"}


@pytest.mark.parametrize("interruption", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_the_old_file_and_no_temporary(tmp_path, interruption):
    target = tmp_path / "x.txt"
    target.write_text("old")

    def write():
        with files.atomic_path(target) as temporary:
            temporary.write_text("half")
            raise interruption

    with pytest.raises(interruption):
        write()
    assert target.read_text() == "old"
    assert names_in(tmp_path) == {"x.txt"}


def test_a_folder_is_replaced_whole(tmp_path):
    target = tmp_path / "corpus"
    (target / "sub").mkdir(parents=True)
    (target / "sub" / "old").touch()
    with files.atomic_path(target) as temporary:
        temporary.mkdir()
        (temporary / "new").touch()
    assert names_in(tmp_path) == {"corpus", "new"}


def test_an_error_leaves_the_old_folder_and_no_temporary(tmp_path):
    target = tmp_path / "corpus"
    target.mkdir()
    (target / "old").touch()

    def write():
        with files.atomic_path(target) as temporary:
            temporary.mkdir()
            (temporary / "new").touch()
            raise ValueError

    with pytest.raises(ValueError):
        write()
    assert names_in(tmp_path) == {"corpus", "old"}


def test_text_is_utf8_with_newlines_as_given(tmp_path):
    files.write_text(tmp_path / "x.txt", "é\nb\r\n")
    assert (tmp_path / "x.txt").read_bytes() == b"\xc3\xa9\nb\r\n"


def test_json_is_read_back_and_readable_by_any_parser(tmp_path):
    value = {"name": "Müller", "numbers": [1, 2.5, None]}
    files.write_json(tmp_path / "x.json", value)
    assert files.read_json(tmp_path / "x.json") == value == json.loads((tmp_path / "x.json").read_text("utf-8"))


@pytest.mark.parametrize("content", [None, b"{", b"\xff\xfe{}"])
def test_missing_or_damaged_json_is_refused_by_name(tmp_path, content):
    path = tmp_path / "broken.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.json"):
        files.read_json(path)


def test_equal_text_makes_equal_gzip_files_whenever_and_wherever_written(tmp_path, monkeypatch):
    files.write_gzip(tmp_path / "one.gz", "text é\n" * 100)
    monkeypatch.setattr(time, "time", lambda: 2_000_000_000.0)
    files.write_gzip(tmp_path / "two.gz", "text é\n" * 100)
    content = (tmp_path / "one.gz").read_bytes()
    assert content == (tmp_path / "two.gz").read_bytes()
    assert content[4:8] == b"\0\0\0\0"
    assert gzip.decompress(content).decode() == "text é\n" * 100


def test_a_files_digest_is_its_sha256(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "x").write_bytes(content)
    assert files.file_digest(tmp_path / "x") == hashlib.sha256(content).hexdigest()


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs the program sha256sum (GNU coreutils)")
def test_sha256sum_checks_a_written_digest_and_notices_a_change(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"weights")
    folder = tmp_path / "corpus"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "x").write_bytes(b"x")
    (folder / "y").write_bytes(b"y")
    for path, members in ((tmp_path / "model.bin", 1), (folder, 2)):
        files.write_digest(path)
        assert len(files.digest_path(path).read_text().splitlines()) == members
        check = ["sha256sum", "--check", "--strict", files.digest_path(path).name]
        assert subprocess.run(check, cwd=tmp_path, capture_output=True).returncode == 0
    (folder / "sub" / "x").write_bytes(b"z")
    assert subprocess.run(check, cwd=tmp_path, capture_output=True).returncode != 0


def test_a_digest_stands_beside_its_file(tmp_path):
    assert files.digest_path(tmp_path / "x.h5") == tmp_path / "x.h5.sha256"
