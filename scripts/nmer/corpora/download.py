"""Files fetched over HTTP: resumed where a connection broke off, checked, and given their name only when whole.

A file on its way stands beside its place as ``name.part``, and what the server said of it in ``name.part.json``. Both
go when the file is whole. Both stay when the connection fails for good, so that the next call fetches only the rest.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests

from nmer.digests import file_digest
from nmer.errors import DataError
from nmer.files import read_json, write_json
from nmer.progress import progress

CHUNK = 2**15
"""Bytes read at once. When a connection breaks off, less than this of what it brought is lost."""
BUSY = (408, 425, 429)
"""Answers below 500 that may be others a little later."""


@dataclass(frozen=True)
class Fetched:
    """A file in its place. size: bytes. sha256: 64 hexadecimal digits. new: fetched by this call, not there already."""

    size: int
    sha256: str
    new: bool


def download(
    url: str,
    path: str | Path,
    sha256: str | None = None,
    attempts: int = 5,
    wait: float = 1.0,
    timeout: float = 60.0,
    say: Callable[[str], object] = lambda line: None,
) -> Fetched:
    """Fetch a file, or go on fetching it; a file that stands there already is never overwritten.

    sha256: digest that the file must have, None = not checked. attempts: requests before giving up, when connections
    fail or the server is busy. wait: seconds before the second attempt, doubled for each further one. timeout: seconds
    without an answer or data after which a connection counts as cut. say: told about every failed attempt.
    Raises DataError: for another digest than ``sha256`` (what was fetched is deleted), for an existing file of another
    digest, for an address that the server does not serve, and when all attempts failed (what was fetched is kept).
    """
    path, expected = Path(path), sha256.lower() if sha256 else None
    if os.path.lexists(path):
        return _kept(path, expected)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _Part(path, url, checked=expected is not None) as part:
        if os.path.lexists(path):  # another process has just finished it
            return _kept(path, expected)
        _fetch(part, attempts, wait, timeout, say)
        digest = file_digest(part.path)
        if expected not in (None, digest):
            part.remove()
            raise DataError(
                f"{url}: what arrived has the SHA-256 {digest}, not {expected}, and was deleted. "
                f"Correct the key sha256 if the publisher states this one; else fetch again, or from elsewhere."
            )
        part.finish()
        return Fetched(part.size, digest, new=True)


def readable(size: int) -> str:
    """A number of bytes as people read it, e.g. ``1.5 GiB``."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"


def _kept(path: Path, expected: str | None) -> Fetched:
    if not path.is_file():
        raise DataError(f"{path}: is no file, but stands where one is to be fetched to. Move it away.")
    digest = file_digest(path)
    if expected not in (None, digest):
        raise DataError(f"{path}: has the SHA-256 {digest}, not {expected}. Move it away to fetch the right one.")
    return Fetched(path.stat().st_size, digest, new=False)


class _AttemptError(Exception):
    """A connection failed in a way that another attempt may not."""


class _Part:
    """The bytes of a file that have arrived, and what the server said of the file. Held by one process at a time.

    size: bytes that have arrived. total: bytes of the whole file, None = not known. validator: the server's mark of
    this state of the file (ETag or Last-Modified), None = it gave none.
    """

    def __init__(self, path: Path, url: str, checked: bool) -> None:
        self.goal, self.path = path, path.with_name(f"{path.name}.part")
        self._note = path.with_name(f"{path.name}.part.json")
        self.url, self._checked = url, checked
        self.total: int | None = None
        self.validator: str | None = None

    def __enter__(self) -> _Part:
        self._stream = self.path.open("ab", buffering=0)
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = self.path.exists() and os.path.samestat(os.fstat(self._stream.fileno()), self.path.stat())
        except BlockingIOError:
            held = False
        except OSError:
            held = True  # a file system without locks
        if not held:  # by now it may even be the finished file
            self._stream.close()
            raise DataError(f"{self.path}: another process is fetching this file. Wait for it, or end it.")
        try:
            note = read_json(self._note)
        except DataError:
            note = {}
        self.total, self.validator = note.get("total"), note.get("validator")
        # Without a mark of the file's state only the digest can tell whether the rest belongs to what is here.
        if note.get("url") != self.url or not (self.validator or self._checked):
            self.restart()
        return self

    def __exit__(self, *_error: object) -> None:
        if not self.size:
            self.remove()
        self._stream.close()

    @property
    def size(self) -> int:
        return self._stream.tell()

    @property
    def progress(self) -> str:
        return readable(self.size) + (f" of {readable(self.total)}" if self.total is not None else "")

    def write(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[self._stream.write(rest) :]
        except OSError as error:
            raise DataError(
                f"{self.path}: {error.strerror} after {self.progress}. Make room; the same command then goes on."
            ) from None

    def restart(self) -> None:
        """Forget what has arrived."""
        self._stream.seek(0)
        self._stream.truncate()
        self.total = self.validator = None

    def begin(self, response: requests.Response) -> None:
        """Start the file anew, as a response describes it."""
        self.restart()
        self.total, self.validator = _length(response), _validator(response)
        write_json(self._note, {"url": self.url, "validator": self.validator, "total": self.total})

    def request_headers(self) -> dict[str, str]:
        """Ask for the rest, if the file is still the same, and for its bytes as they are."""
        wanted = {"Range": f"bytes={self.size}-"} if self.size else {}
        condition = {"If-Range": self.validator} if self.size and self.validator else {}
        return {"Accept-Encoding": "identity"} | wanted | condition

    def is_whole(self, response: requests.Response) -> bool:
        """Whether a server that has no rest to send (416) means that all of the file is here."""
        stated = re.fullmatch(r"bytes \*/(\d+)", response.headers.get("Content-Range", ""))
        return response.status_code == 416 and stated is not None and int(stated[1]) == self.size == self.total

    def continues_with(self, response: requests.Response) -> bool:
        """Whether a response holds the rest of this file, from the first missing byte on; notes the size it states."""
        stated = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if response.status_code != 206 or stated is None or int(stated[1]) != self.size:
            return False
        total = self.total if stated[2] == "*" else int(stated[2])
        if self.total not in (None, total) or _validator(response) not in (None, self.validator):
            return False
        self.total = total
        return True

    def finish(self) -> None:
        """Give the file its name, with its bytes on the disk before."""
        os.fsync(self._stream.fileno())
        if os.path.lexists(self.goal):
            raise DataError(f"{self.goal}: came to stand there during the download. Move it away and call again.")
        self.path.replace(self.goal)
        self._note.unlink(missing_ok=True)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)


def _length(response: requests.Response) -> int | None:
    stated = response.headers.get("Content-Length", "")
    return int(stated) if stated.isdecimal() else None


def _validator(response: requests.Response) -> str | None:
    """The server's mark of the state of a file. A weak ETag does not promise equal bytes and cannot be asked for."""
    tag = response.headers.get("ETag", "W/")
    return response.headers.get("Last-Modified") if tag.startswith("W/") else tag


def _fetch(part: _Part, attempts: int, wait: float, timeout: float, say: Callable[[str], object]) -> None:
    for attempt in range(attempts):
        try:
            return _attempt(part, timeout)
        except _AttemptError as error:
            reason = error
        if attempt + 1 < attempts:
            pause = wait * 2**attempt
            say(f"{part.goal.name}: {reason} ({part.progress} are here). Trying again in {pause:g} s.")
            time.sleep(pause)
    kept = f"{part.progress} are in {part.path}, and the same command goes on from there" if part.size else "Try later"
    raise DataError(f"{part.url}: {reason}, at the last of {attempts} attempts. {kept}.")


def _attempt(part: _Part, timeout: float) -> None:
    """One request for what is missing. Raises _AttemptError if another one may help, DataError if it cannot."""
    response = _request(part, timeout)
    if response.status_code in (206, 416):
        if part.is_whole(response):
            return
        if not part.continues_with(response):
            response.close()
            part.restart()
            response = _request(part, timeout)
    with response:
        _check_status(response, part)
        if response.status_code == 200:
            part.begin(response)
        _receive(response, part)
    if part.total is not None and part.size != part.total:
        raise _AttemptError("the connection was cut")


def _request(part: _Part, timeout: float) -> requests.Response:
    host = urlsplit(part.url).hostname
    try:
        return requests.get(part.url, headers=part.request_headers(), stream=True, timeout=timeout)
    except requests.Timeout:
        raise _AttemptError(f"no answer from {host} within {timeout:g} s") from None
    except requests.exceptions.SSLError:
        raise _AttemptError(f"no secure connection to {host}") from None
    except requests.ConnectionError:
        raise _AttemptError(f"no connection to {host}") from None
    except requests.RequestException as error:
        raise DataError(f"{part.url}: cannot be asked for ({error}). Correct the address.") from None


def _check_status(response: requests.Response, part: _Part) -> None:
    status = response.status_code
    if status >= 500 or status in BUSY:
        raise _AttemptError(f"the server answers {status} {response.reason}")
    if status != 200 and not (status == 206 and part.size):
        raise DataError(f"{part.url}: the server answers {status} {response.reason}. Correct the address.")
    is_page = response.headers.get("Content-Type", "").startswith("text/html")
    if is_page and part.goal.suffix not in (".html", ".htm"):
        raise DataError(
            f"{part.url}: the server sends a web page, not a file. It may ask for a login or a confirmation; "
            f"give the address of the file itself, or fetch it with a browser."
        )


def _receive(response: requests.Response, part: _Part) -> None:
    # The bytes as they are stored, also where the server says that they are compressed: their digest is meant.
    response.raw.headers.pop("Content-Encoding", None)
    missing = 0 if part.total is None else part.total - part.size
    with progress(f"rest of {part.goal.name}" if part.size else part.goal.name, missing) as advance:
        try:
            for chunk in response.iter_content(CHUNK):
                part.write(chunk)
                advance(len(chunk))
        except requests.RequestException:
            raise _AttemptError("the connection was cut") from None
