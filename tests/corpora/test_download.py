"""A file is fetched whole or not at all, over a connection that breaks, from a server that lies."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import random
import resource
import sys
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import fetch_corpus
import pytest

from nmer import command, progress
from nmer.corpora import download as module
from nmer.corpora.download import CHUNK, download, readable
from nmer.corpora.download_list import Download, download_list
from nmer.errors import ConfigError, DataError

CONTENT = random.Random(0).randbytes(6 * CHUNK + 123)
OTHER = random.Random(1).randbytes(5 * CHUNK + 7)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def target(tmp_path, server) -> Path:
    """Return the path of the file to fetch; the server has CONTENT with an ETag."""
    server.content, server.headers = CONTENT, {"ETag": '"one"'}
    return tmp_path / "data" / "corpus.pkl"


@pytest.fixture
def fetch(server, target):
    """Return a function that fetches from the server without waiting between attempts."""

    def call(sha256: str | None = digest(CONTENT), **keys: object) -> module.Fetched:
        return download(server.url, target, sha256, **{"wait": 0.0, "timeout": 5.0, **keys})

    return call


def left(target: Path) -> list[str]:
    """Return the names of everything in the folder."""
    return sorted(path.name for path in target.parent.iterdir()) if target.parent.exists() else []


def part(target: Path) -> Path:
    return target.with_name("corpus.pkl.part")


# A whole file


@pytest.mark.parametrize("sha256", [None, digest(CONTENT), digest(CONTENT).upper()])
def test_a_file_is_fetched_with_its_size_and_digest(fetch, target, sha256):
    assert fetch(sha256) == module.Fetched(len(CONTENT), digest(CONTENT), new=True)
    assert target.read_bytes() == CONTENT
    assert left(target) == ["corpus.pkl"]


def test_an_empty_file_is_accepted(fetch, server, target):
    server.content = b""
    assert fetch(digest(b"")).size == 0
    assert left(target) == ["corpus.pkl"]


def test_a_missing_content_length_is_accepted(fetch, server, target):
    server.headers["Content-Length"] = ""
    assert fetch().new
    assert target.read_bytes() == CONTENT


def test_a_redirect_is_followed_when_resuming(server, target):
    server.cuts = [2 * CHUNK]
    assert download(f"{server.root}/moved", target, digest(CONTENT), wait=0.0).new
    at_file = [request["range"] for request in server.requests if request["path"] == "/corpus.pkl"]
    assert at_file == [None, f"bytes={2 * CHUNK}-"]


def test_stored_bytes_are_kept_despite_declared_compression(fetch, server, target):
    server.headers["Content-Encoding"] = "gzip"
    assert fetch().sha256 == digest(CONTENT)
    assert server.requests[0]["encoding"] == "identity"


# Connections that break


def test_after_an_interruption_only_the_rest_is_requested(fetch, server, target):
    server.cuts = [2 * CHUNK, CHUNK, CHUNK]
    assert fetch().new
    assert server.ranges == [None, *(f"bytes={count * CHUNK}-" for count in (2, 3, 4))]
    assert {request["condition"] for request in server.requests[1:]} == {'"one"'}
    assert server.sent == len(CONTENT)
    assert target.read_bytes() == CONTENT
    assert left(target) == ["corpus.pkl"]


@pytest.mark.parametrize("seed", range(5))
def test_an_interruption_repeats_less_than_one_chunk(fetch, server, target, seed):
    numbers = random.Random(seed)
    server.cuts = [numbers.randrange(2 * CHUNK) for _ in range(8)]
    cuts = len(server.cuts)
    assert fetch(attempts=cuts + 1).new
    assert target.read_bytes() == CONTENT
    assert server.sent < len(CONTENT) + cuts * CHUNK


def test_fetched_data_are_kept_after_failed_attempts_and_the_next_call_resumes(fetch, server, target):
    server.cuts = [CHUNK] * 3
    messages = []
    with pytest.raises(DataError) as raised:
        fetch(attempts=3, log=messages.append)
    assert str(raised.value) == (
        f"{server.url}: the connection was interrupted, at the last of 3 attempts. "
        f"96.0 KiB of {readable(len(CONTENT))} are in {part(target)}. Run the same command to resume."
    )
    assert len(messages) == 2
    assert left(target) == ["corpus.pkl.part", "corpus.pkl.part.json"]
    assert part(target).read_bytes() == CONTENT[: 3 * CHUNK]
    before = len(server.requests)
    assert fetch().new
    assert server.ranges[before:] == [f"bytes={3 * CHUNK}-"]
    assert server.sent == len(CONTENT)
    assert target.read_bytes() == CONTENT
    assert left(target) == ["corpus.pkl"]


def test_a_request_to_a_busy_server_is_repeated_after_growing_waits(fetch, server, target, monkeypatch):
    waits, messages = [], []
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=waits.append))
    server.statuses = [500, 503, 429]
    assert fetch(wait=1.0, log=messages.append).new
    assert waits == [1.0, 2.0, 4.0]
    assert (
        messages[1] == "corpus.pkl: the server answers 503 Service Unavailable (0 bytes fetched). Trying again in 2 s."
    )


def test_a_busy_server_ends_in_one_message_and_leaves_nothing(fetch, server, target):
    server.statuses = [500] * 9
    with pytest.raises(DataError, match=r"the server answers 500 .* at the last of 5 attempts\. Try later\.$"):
        fetch()
    assert len(server.requests) == 5
    assert left(target) == []


def test_a_missing_server_ends_in_one_message_and_leaves_nothing(fetch, server, target):
    server.close()
    with pytest.raises(DataError, match=r": no connection to 127\.0\.0\.1, at the last of 5 attempts\. Try later\.$"):
        fetch()
    assert left(target) == []


def test_a_request_to_a_silent_server_is_repeated(fetch, server, target):
    def stall_once(number):
        server.stall = 0.0 if number else 1.0

    server.before = stall_once
    messages = []
    assert fetch(timeout=0.2, log=messages.append).new
    assert messages[0].startswith("corpus.pkl: no answer from 127.0.0.1 within 0.2 s")


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_file_that_is_not_served_is_requested_once(fetch, server, target, status):
    server.statuses = [status]
    with pytest.raises(DataError, match=f"{server.url}: the server answers {status} .*Correct the address"):
        fetch()
    assert len(server.requests) == 1
    assert left(target) == []


def test_fetched_data_are_kept_if_the_file_disappears_from_the_server(fetch, server, target):
    server.cuts, server.before = [CHUNK], lambda number: number and server.statuses.append(404)
    with pytest.raises(DataError, match="404"):
        fetch()
    assert part(target).read_bytes() == CONTENT[:CHUNK]


def test_circular_redirects_end_in_one_message(server, target):
    with pytest.raises(DataError, match=r"cannot be requested .*30 redirects"):
        download(f"{server.root}/loop", target)
    assert left(target) == []


def test_a_web_page_in_place_of_the_file_is_refused(fetch, server, target):
    server.headers["Content-Type"] = "text/html; charset=utf-8"
    with pytest.raises(DataError, match=r"sends a web page, not a file\. It may require a login"):
        fetch(None)
    assert left(target) == []
    assert download(f"{server.root}/x.html", target.with_name("x.html")).new


# Servers that change their mind, or lie


def test_a_server_without_ranges_sends_the_whole_file_again(fetch, server, target):
    server.supports_ranges, server.cuts = False, [2 * CHUNK]
    assert fetch().new
    assert server.ranges == [None, f"bytes={2 * CHUNK}-"]
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("honours_conditions", [True, False])
@pytest.mark.parametrize("mark", ["ETag", "Last-Modified"])
def test_a_file_that_changes_between_attempts_is_never_mixed(fetch, server, target, mark, honours_conditions):
    marks = {
        "ETag": ('"one"', '"two"'),
        "Last-Modified": ("Mon, 02 Nov 2026 10:00:00 GMT", "Tue, 03 Nov 2026 10:00:00 GMT"),
    }

    def change(number):
        server.content = OTHER if number else CONTENT
        server.headers = {mark: marks[mark][bool(number)]}

    server.before, server.cuts, server.honours_conditions = change, [2 * CHUNK], honours_conditions
    assert fetch(None).sha256 == digest(OTHER)
    assert target.read_bytes() == OTHER
    assert server.requests[1]["condition"] == marks[mark][0]
    assert server.requests[-1]["range"] is None or honours_conditions


def test_a_file_that_changes_its_size_without_a_validator_is_never_mixed(fetch, server, target):
    def change(number):
        server.content, server.headers = (OTHER if number else CONTENT), {}

    server.before, server.cuts = change, [2 * CHUNK]
    assert fetch(None).sha256 == digest(OTHER)


@pytest.mark.parametrize(("sha256", "expected_range"), [(None, None), (digest(CONTENT), f"bytes={CHUNK}-")])
def test_without_a_validator_only_a_file_with_a_digest_is_resumed(fetch, server, sha256, expected_range):
    server.headers, server.cuts = {"ETag": 'W/"weak"'}, [CHUNK]
    with pytest.raises(DataError):
        fetch(sha256, attempts=1)
    assert fetch(sha256).sha256 == digest(CONTENT)
    assert server.requests[1] == {
        "path": "/corpus.pkl",
        "range": expected_range,
        "condition": None,
        "encoding": "identity",
    }


def test_data_from_another_address_are_not_resumed(fetch, server, target):
    server.cuts = [CHUNK]
    with pytest.raises(DataError):
        download(f"{server.root}/elsewhere", target, digest(CONTENT), attempts=1)
    assert fetch().new
    assert server.ranges == [None, None]


@pytest.mark.parametrize("note", ["{", "", None])
def test_a_part_without_metadata_is_not_resumed(fetch, server, target, note):
    target.parent.mkdir()
    part(target).write_bytes(OTHER[:CHUNK])
    if note is not None:
        part(target).with_name("corpus.pkl.part.json").write_text(note)
    assert fetch().new
    assert server.ranges == [None]
    assert left(target) == ["corpus.pkl"]


def test_a_rest_from_another_position_is_rejected(fetch, server, target):
    server.cuts, server.shift = [2 * CHUNK], 1
    assert fetch().new
    assert server.ranges == [None, f"bytes={2 * CHUNK}-", None]
    assert target.read_bytes() == CONTENT


def test_a_complete_part_is_only_renamed(fetch, server, target):
    write_finished_part(server, target, CONTENT)
    assert fetch().new
    assert server.ranges == [f"bytes={len(CONTENT)}-"]
    assert server.sent == 0
    assert left(target) == ["corpus.pkl"]


def test_a_part_longer_than_the_file_is_fetched_again(fetch, server, target):
    write_finished_part(server, target, CONTENT + b"more")
    assert fetch().new
    assert server.ranges == [f"bytes={len(CONTENT) + 4}-", None]
    assert target.read_bytes() == CONTENT


def write_finished_part(server, target: Path, content: bytes) -> None:
    """Leave the files of a process that ended after its last byte but before renaming the part."""
    target.parent.mkdir()
    part(target).write_bytes(content)
    note = {"url": server.url, "validator": '"one"', "total": len(CONTENT)}
    part(target).with_name("corpus.pkl.part.json").write_text(json.dumps(note))


@pytest.mark.parametrize("sha256", [None, digest(CONTENT)])
def test_fewer_bytes_than_declared_are_refused(fetch, server, target, sha256):
    server.declared_length = len(CONTENT) + 10
    with pytest.raises(DataError, match="the connection was interrupted, at the last of 5 attempts"):
        fetch(sha256)
    assert not target.exists()


def test_more_bytes_than_declared_are_refused(fetch, server, target):
    server.declared_length = len(CONTENT) - 10
    with pytest.raises(DataError, match="the file has the SHA-256"):
        fetch()
    assert left(target) == []


def test_a_file_with_a_wrong_digest_is_deleted_and_both_digests_are_named(fetch, server, target):
    server.content = OTHER
    with pytest.raises(DataError) as raised:
        fetch()
    assert str(raised.value).startswith(
        f"{server.url}: the file has the SHA-256 {digest(OTHER)}, not {digest(CONTENT)}, and was deleted."
    )
    assert "\n" not in str(raised.value)
    assert left(target) == []


# What exists already


def test_a_file_with_the_right_digest_is_not_fetched_again(fetch, server, target):
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    assert fetch() == module.Fetched(len(CONTENT), digest(CONTENT), new=False)
    assert server.requests == []


def test_a_file_with_another_digest_is_neither_kept_nor_overwritten(fetch, server, target):
    target.parent.mkdir()
    target.write_bytes(OTHER)
    with pytest.raises(DataError, match=f"has the SHA-256 {digest(OTHER)}, not {digest(CONTENT)}. Move it away"):
        fetch()
    assert server.requests == []
    assert target.read_bytes() == OTHER


def test_without_a_digest_an_existing_file_is_kept(fetch, server, target):
    target.parent.mkdir()
    target.write_bytes(OTHER)
    assert fetch(None) == module.Fetched(len(OTHER), digest(OTHER), new=False)
    assert server.requests == []


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("nowhere")])
def test_an_existing_path_that_is_not_a_file_is_not_touched(fetch, server, target, make):
    target.parent.mkdir()
    make(target)
    with pytest.raises(DataError, match="exists and is not a file"):
        fetch()
    assert server.requests == []


def test_a_file_that_appears_during_the_download_is_not_overwritten(fetch, server, target):
    server.before = lambda number: target.write_bytes(b"mine")
    with pytest.raises(DataError, match="was created during the download"):
        fetch()
    assert target.read_bytes() == b"mine"


# Neighbours and disks


def test_two_processes_do_not_write_one_part(fetch, server, target):
    target.parent.mkdir()
    with part(target).open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another process is fetching this file"):
            fetch()
    assert server.requests == []


def test_concurrent_downloads_give_one_file(fetch, server, target):
    server.before = lambda number: threading.Event().wait(0.2)
    outcomes = []

    def one():
        try:
            outcomes.append(fetch().sha256)
        except DataError as error:
            outcomes.append("another process is fetching" in str(error))

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(outcomes) <= {digest(CONTENT), True}
    assert digest(CONTENT) in outcomes
    assert left(target) == ["corpus.pkl"]


def test_a_full_disk_ends_in_one_message_and_the_next_call_resumes(fetch, server, target):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * CHUNK + 5, hard))
    try:
        with pytest.raises(DataError, match=r"corpus\.pkl\.part: .* after 64\.0 KiB of 192\.1 KiB\. Make room"):
            fetch()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert fetch().new
    assert server.ranges == [None, f"bytes={2 * CHUNK + 5}-"]


# Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_progress_of_the_file_or_its_rest(fetch, server, monkeypatch):
    monkeypatch.setattr(progress, "TERMINAL_DELAY_SECONDS", 0.0)
    monkeypatch.setattr(sys, "stderr", Terminal())
    server.cuts = [2 * CHUNK]
    fetch()
    parts = sys.stderr.getvalue().split("rest of ")
    assert "corpus.pkl:" in parts[0]
    assert f"/{len(CONTENT) / 1000:.0f}k" in parts[0]
    assert f"/{len(CONTENT[2 * CHUNK :]) / 1000:.0f}k" in parts[-1]


@pytest.mark.parametrize("length", [None, ""])
def test_progress_without_a_terminal_is_an_occasional_line(fetch, server, monkeypatch, capsys, length):
    if length is not None:
        server.headers["Content-Length"] = length
    server.cuts = [2 * CHUNK] if length is None else []
    monkeypatch.setattr(progress, "LOG_INTERVAL_SECONDS", 0.0)
    fetch()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 7
    assert all(line.startswith(("corpus.pkl: ", "rest of corpus.pkl: ")) for line in lines)


def test_a_short_download_shows_no_progress(fetch, capsys):
    fetch()
    assert capsys.readouterr().err == ""


# The list of a dataset


def entry(**keys: object) -> dict:
    return {"url": "https://example.org/a/corpus.zip?token=1"} | keys


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (entry(), Download(entry()["url"], "corpus.zip")),
        (entry(file="my/corpus.tar.gz", unpack=True), Download(entry()["url"], "my/corpus.tar.gz", unpack=True)),
        (entry(file="./my//corpus.pkl"), Download(entry()["url"], "my/corpus.pkl")),
        (entry(sha256="A" * 64), Download(entry()["url"], "corpus.zip", "a" * 64)),
        (
            {"url": "http://example.org/my%20corpus.pkl"},
            Download("http://example.org/my%20corpus.pkl", "my corpus.pkl"),
        ),
    ],
)
def test_an_entry_determines_address_and_file(keys, expected):
    assert download_list([keys], "mine") == [expected]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (entry(file="/etc/passwd"), "datasets.mine.download.0.file: '/etc/passwd' is an absolute path. Give a path"),
        (entry(file="../corpus.pkl"), "datasets.mine.download.0.file: '../corpus.pkl' leads out of its folder. Give"),
        (entry(file="a/../../b"), "datasets.mine.download.0.file: 'a/../../b' leads out"),
        ({"url": "https://example.org/..%2F..%2Fevil"}, "datasets.mine.download.0.file: '../../evil' leads out"),
        ({"url": "https://example.org/%2Fetc%2Fpasswd"}, "is an absolute path"),
        ({"url": "https://example.org/.."}, "leads out"),
        (entry(file="folder/"), "is not a file name"),
        (entry(file="."), "is not a file name"),
        (entry(file=""), "is not a file name"),
        (entry(file="two\nlines"), "is not a file name"),
        ({"url": "https://example.org/folder/"}, "does not end in a file name. Add the key 'file'"),
        ({"url": "https://example.org"}, "does not end in a file name. Add the key 'file'"),
        ({"url": "ftp://example.org/a"}, "datasets.mine.download.0.url: 'ftp://example.org/a' is not possible. Give"),
        ({"url": "file:///etc/passwd"}, "is not possible. Give an address that starts with https://."),
        ({"url": "corpus.zip"}, "is not possible"),
        ({"url": "https://"}, "is not possible"),
        ({"url": "https://example.org:port/a"}, "is not a valid address"),
        ({"url": "https://me:secret@example.org/a"}, "a password in an address ends up in logs"),
        (entry(sha256="abc"), "datasets.mine.download.0.sha256: 'abc' is not a SHA-256. Give 64 hexadecimal digits."),
        (entry(sha256="g" * 64), "is not a SHA-256"),
        (
            entry(file="corpus.pkl", unpack=True),
            "datasets.mine.download.0.unpack: 'corpus.pkl' is not a known archive.",
        ),
        (entry(unpak=True), "datasets.mine.download.0: unknown key 'unpak'. Did you mean 'unpack'?"),
        (entry(unpack="yes"), "datasets.mine.download.0.unpack: 'yes' is not possible"),
        ({}, "datasets.mine.download.0: missing key 'url'"),
        ("https://example.org/a", "Give a mapping with the key 'url'"),
    ],
)
def test_an_invalid_entry_is_named_with_its_key(keys, message):
    with pytest.raises(ConfigError) as raised:
        download_list([keys], "mine")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_two_entries_do_not_share_a_file():
    with pytest.raises(ConfigError, match=r"download\.1: 'corpus.zip' is also the file of entry 0"):
        download_list([entry(), entry(file="./corpus.zip")], "mine")


# The step


@pytest.fixture
def step(tmp_path, target, monkeypatch, capsys):
    """Return a function that runs fetch_corpus.py like the workflow and returns exit status, output and log."""

    def run(*entries: dict) -> tuple[int, list[str], list[str]]:
        settings = json.dumps({"dataset": "mine", "download": entries})
        log = tmp_path / "logs" / "fetch" / "mine.log"
        arguments = ["--settings", settings, "--folder", str(target.parent), "--log", str(log)]
        monkeypatch.setattr(sys, "argv", ["fetch_corpus.py", *arguments])
        status = 0
        try:
            command.run(fetch_corpus.main)
        except SystemExit as ending:
            status = ending.code
        captured = capsys.readouterr()
        assert captured.out == ""
        return status, captured.err.splitlines(), log.read_text().splitlines()

    return run


def test_the_step_prints_and_logs_one_line_per_file(step, server, target):
    entries = [{"url": f"{server.root}/{name}", "sha256": digest(CONTENT)} for name in ("one.pkl", "two.pkl")]
    lines = [
        f"{target.parent / name}: fetched, 192.1 KiB, SHA-256 {digest(CONTENT)}." for name in ("one.pkl", "two.pkl")
    ]
    assert step(*entries) == (0, lines, lines)
    kept = [line.replace("fetched", "kept") for line in lines]
    assert step(*entries) == (0, kept, kept)
    assert len(server.requests) == 2


def test_the_step_prints_a_missing_digest_with_a_warning(step, server, target):
    status, messages, _logged = step({"url": server.url})
    assert status == 0
    assert messages[0].endswith(f"SHA-256 {digest(CONTENT)}.")
    assert (
        messages[1] == f"warning: {target} was not checked. If it is right, add to its entry: sha256: {digest(CONTENT)}"
    )
    assert download_list([{"url": server.url, "sha256": messages[1].rpartition(" ")[2]}], "mine")


def test_the_step_unpacks_once(step, server, target):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("corpus/a.txt", "a")
        file.writestr("corpus/b.txt", "b")
    server.content = archive.getvalue()
    wanted = {"url": server.url, "file": "inner/all.zip", "sha256": digest(server.content), "unpack": True}
    assert step(wanted)[1][0].endswith("; 2 files unpacked, 0 there already.")
    assert (target.parent / "inner" / "corpus" / "b.txt").read_text() == "b"
    assert step(wanted)[1][0].endswith("; 0 files unpacked, 2 there already.")
    (target.parent / "inner" / "corpus" / "b.txt").write_text("mine")
    status, messages, logged = step(wanted)
    assert status == 1
    assert messages == logged
    assert messages[0].startswith(f"error: {target.parent / 'inner' / 'corpus' / 'b.txt'}: exists and differs")


def test_an_error_of_the_step_is_one_logged_message(step, server, target):
    server.content = OTHER
    status, messages, logged = step({"url": server.url, "sha256": digest(CONTENT)}, {"url": f"{server.root}/two.pkl"})
    assert status == 1
    assert messages == logged
    assert len(messages) == 1
    assert messages[0].startswith(f"error: {server.url}: the file has the SHA-256")
    assert left(target) == []
