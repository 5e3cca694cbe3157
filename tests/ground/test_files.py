"""Files are written atomically, and equal content gives equal files."""

from __future__ import annotations

import csv
import errno
import gzip
import json
import os
import subprocess
import time

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from nmer import command, files, hdf5_output
from nmer.corpora.demo import DemoSettings, write_demo
from nmer.errors import DataError
from nmer.results import style
from nmer.training import checkpoints, models


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


def test_a_folder_is_replaced_completely(tmp_path):
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


def test_text_is_written_as_utf8_with_unchanged_newlines(tmp_path):
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


TEXT = st.text("aZ0 ,;.\"'\n\t|_-äß漢Ω\u0301😀", max_size=8)
"""Text without carriage returns: the standard library's CSV does not keep them, and names with one are refused."""

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.floats(-1e300, 1e300) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("written") / "x"


@given(st.dictionaries(TEXT, VALUES))
def test_any_json_is_read_back(place, value):
    files.write_json(place, value)
    assert files.read_json(place) == json.loads(place.read_bytes()) == value
    assert names_in(place.parent) == {"x"}


@given(st.data(), st.lists(TEXT.filter(bool), min_size=1, max_size=4, unique=True), st.integers(1, 4))
def test_any_rows_are_read_back_by_other_readers_of_csv(place, data, columns, count):
    # The first column is never empty, because pandas skips lines without text.
    fields = dict.fromkeys(columns, TEXT) | {columns[0]: TEXT.map(lambda text: f"u{text}")}
    rows = data.draw(st.lists(st.fixed_dictionaries(fields), min_size=count, max_size=count))
    files.write_rows(place, rows)
    with place.open(newline="", encoding="utf-8") as stream:
        assert list(csv.DictReader(stream)) == rows
    assert pd.read_csv(place, dtype=str, keep_default_na=False).to_dict("records") == rows


def test_equal_text_makes_equal_gzip_files_at_any_time_and_path(tmp_path, monkeypatch):
    files.write_gzip(tmp_path / "one.gz", "text é\n" * 100)
    monkeypatch.setattr(time, "time", lambda: 2_000_000_000.0)
    files.write_gzip(tmp_path / "two.gz", "text é\n" * 100)
    content = (tmp_path / "one.gz").read_bytes()
    assert content == (tmp_path / "two.gz").read_bytes()
    assert content[4:8] == b"\0\0\0\0"
    assert gzip.decompress(content).decode() == "text é\n" * 100


def test_the_next_write_removes_temporary_files_of_killed_processes_only(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    stays = {f".x.txt.{os.getppid()}.tmp", f".y.txt.{ended.pid}.tmp", ".x.txt.tmp", ".x.txt.notes.tmp"}
    for name in stays:
        (tmp_path / name).touch()
    (tmp_path / f".x.txt.{ended.pid}.tmp").write_text("half")
    (tmp_path / f".x.txt.{ended.pid}.old").mkdir()
    files.write_text(tmp_path / "x.txt", "whole")
    assert names_in(tmp_path) == {"x.txt"} | stays


@pytest.fixture
def full_disk(tmp_path):
    """A folder on a file system without a free page."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", folder]).returncode:
        pytest.skip("needs the right to mount a file system")
    (folder / "filling").write_bytes(bytes(8192))
    yield folder
    subprocess.run(["umount", folder], check=True)


def _write_hdf5(path):
    with hdf5_output.create_file(path) as file:
        file["x"] = list(range(5000))


def _write_corpus(path):
    settings = {"dataset": "x", "layout": "iemocap_mmin", "generate": {"utterances": 100}}
    with files.atomic_path(path) as folder:
        write_demo(folder, DemoSettings.from_mapping(settings))


WRITERS = {
    "text": lambda path: files.write_text(path, "x" * 5000),
    "rows": lambda path: files.write_rows(path, [{"x": 1}] * 5000),
    "json": lambda path: files.write_json(path, list(range(5000))),
    "gzip": lambda path: files.write_gzip(path, "".join(map(str, range(9000)))),
    "features": _write_hdf5,
    "model": lambda path: models.save_models(path, {1: {"weight": torch.zeros(5000)}}, {}),
    "checkpoint": lambda path: checkpoints.save_checkpoint(path, {"best": {"weight": torch.zeros(5000)}}),
    "corpus": _write_corpus,
    "figure": lambda path: style.save_figure(Figure(), pd.DataFrame(), path),
}
"""A writer of every kind of output."""


@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_is_one_line_that_names_the_file_and_leaves_no_file(full_disk, capfd, kind):
    with pytest.raises(SystemExit):
        command.run(lambda: WRITERS[kind](full_disk / kind))
    error = capfd.readouterr().err
    assert error.startswith(f"error: {full_disk / kind}")
    assert error.endswith(": No space left on device. Free disk space and run again; finished results are kept.\n")
    assert error.count("\n") == 1
    assert names_in(full_disk) == {"filling"}


def test_a_disk_full_during_a_checkpoint_has_the_same_message(full_disk, capfd):
    (full_disk / "filling").unlink()
    state = {"weights": {"weight": torch.zeros(50_000)}}
    with pytest.raises(SystemExit):
        command.run(lambda: checkpoints.save_checkpoint(full_disk / "checkpoint", state))
    error = capfd.readouterr().err
    assert error.startswith(f"error: {full_disk / 'checkpoint'}: No space left on device.")
    assert names_in(full_disk) == set()


def test_a_read_only_folder_is_named_with_a_remedy(tmp_path, capsys):
    folder, user = tmp_path / "closed", os.geteuid()
    folder.mkdir(mode=0o555)
    if user == 0:
        os.seteuid(65534)  # root may write everywhere
    try:
        with pytest.raises(SystemExit):
            command.run(lambda: files.write_text(folder / "x.txt", "x"))
    finally:
        os.seteuid(user)
    assert "Permission denied. Set the permissions (chmod, chown) and run again." in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_an_error_within_a_temporary_folder_names_the_folder(tmp_path):
    def fail() -> None:
        with files.atomic_path(tmp_path / "folder") as temporary:
            temporary.mkdir()
            raise OSError(errno.ENOSPC, "No space left on device", str(temporary / "clip.mp4"))

    with pytest.raises(OSError, match="No space left") as raised:
        fail()
    assert raised.value.filename == str(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []
