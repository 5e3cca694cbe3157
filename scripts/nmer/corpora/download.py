"""Downloads over HTTP: resumed after interruptions, verified, and renamed only when complete.

During a download, ``name.part`` contains the data and ``name.part.json`` the metadata sent by the server. Both are
removed when the file is complete. If the connection fails, both stay, and the next call fetches only the rest.
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
"""Bytes read at once. An interrupted connection loses less than this."""
BUSY = (408, 425, 429)
"""Status codes below 500 for which another attempt may succeed."""


@dataclass(frozen=True)
class Fetched:
    """A complete file. size: bytes. sha256: 64 hexadecimal digits. new: whether this call fetched it."""

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
    log: Callable[[str], object] = lambda line: None,
) -> Fetched:
    """Fetch a file, or resume fetching it. Existing files are never overwritten.

    sha256: expected digest, None = not checked. attempts: number of requests if connections fail or the server is busy.
    wait: seconds before the second attempt, doubled for each further one. timeout: seconds without data after which a
    connection counts as interrupted. log: called with a message after every failed attempt.
    Raises DataError if the digest differs (fetched data are deleted), if an existing file has another digest, if the
    server does not serve the address, and if all attempts failed (fetched data are kept).
    """
    path, expected = Path(path), sha256.lower() if sha256 else None
    if os.path.lexists(path):
        return _existing_file(path, expected)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _Part(path, url, checked=expected is not None) as part:
        if os.path.lexists(path):  # another process has just finished it
            return _existing_file(path, expected)
        _fetch(part, attempts, wait, timeout, log)
        digest = file_digest(part.path)
        if expected not in (None, digest):
            part.remove()
            raise DataError(
                f"{url}: the file has the SHA-256 {digest}, not {expected}, and was deleted. Correct the key sha256 if "
                "the publisher states this digest. Otherwise fetch the file again or from another address."
            )
        part.finish()
        return Fetched(part.size, digest, new=True)


def readable(size: int) -> str:
    """Format a number of bytes, e.g. ``1.5 GiB``."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"


def _existing_file(path: Path, expected: str | None) -> Fetched:
    if not path.is_file():
        raise DataError(f"{path}: exists and is not a file. Move it away to fetch the file.")
    digest = file_digest(path)
    if expected not in (None, digest):
        raise DataError(f"{path}: has the SHA-256 {digest}, not {expected}. Move it away to fetch the right one.")
    return Fetched(path.stat().st_size, digest, new=False)


class _AttemptError(Exception):
    """A connection failed; another attempt may succeed."""


class _Part:
    """The fetched part of a file and the metadata sent by the server. Locked by one process at a time.

    size: fetched bytes. total: bytes of the whole file, None = unknown. validator: ETag or Last-Modified of the file,
    None = not sent.
    """

    def __init__(self, path: Path, url: str, checked: bool) -> None:
        self.target, self.path = path, path.with_name(f"{path.name}.part")
        self._metadata = path.with_name(f"{path.name}.part.json")
        self.url, self._checked = url, checked
        self.total: int | None = None
        self.validator: str | None = None

    def __enter__(self) -> _Part:
        self._stream = self.path.open("ab", buffering=0)
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = self.path.exists() and os.path.samestat(os.fstat(self._stream.fileno()), self.path.stat())
        except BlockingIOError:
            locked = False
        except OSError:
            locked = True  # a file system without locks
        if not locked:  # the other process may even have finished the file
            self._stream.close()
            raise DataError(f"{self.path}: another process is fetching this file. Wait for it, or stop it.")
        try:
            metadata = read_json(self._metadata)
        except DataError:
            metadata = {}
        self.total, self.validator = metadata.get("total"), metadata.get("validator")
        # Without a validator, only the digest can show whether the rest belongs to the fetched part.
        if metadata.get("url") != self.url or not (self.validator or self._checked):
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
                f"{self.path}: {error.strerror} after {self.progress}. Make room, then run the same command to resume."
            ) from None

    def restart(self) -> None:
        """Discard the fetched part."""
        self._stream.seek(0)
        self._stream.truncate()
        self.total = self.validator = None

    def begin(self, response: requests.Response) -> None:
        """Start the file again with the metadata of a response."""
        self.restart()
        self.total, self.validator = _length(response), _validator(response)
        write_json(self._metadata, {"url": self.url, "validator": self.validator, "total": self.total})

    def request_headers(self) -> dict[str, str]:
        """Return headers that request the rest of an unchanged file, without compression."""
        requested = {"Range": f"bytes={self.size}-"} if self.size else {}
        condition = {"If-Range": self.validator} if self.size and self.validator else {}
        return {"Accept-Encoding": "identity"} | requested | condition

    def is_complete(self, response: requests.Response) -> bool:
        """Return whether a server without further data (416) confirms that the file is complete."""
        stated = re.fullmatch(r"bytes \*/(\d+)", response.headers.get("Content-Range", ""))
        return response.status_code == 416 and stated is not None and int(stated[1]) == self.size == self.total

    def continues_with(self, response: requests.Response) -> bool:
        """Return whether a response contains the rest of this file; store the total size that it states."""
        stated = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if response.status_code != 206 or stated is None or int(stated[1]) != self.size:
            return False
        total = self.total if stated[2] == "*" else int(stated[2])
        if self.total not in (None, total) or _validator(response) not in (None, self.validator):
            return False
        self.total = total
        return True

    def finish(self) -> None:
        """Write the data to the disk and rename the file."""
        os.fsync(self._stream.fileno())
        if os.path.lexists(self.target):
            raise DataError(f"{self.target}: was created during the download. Move it away and run again.")
        self.path.replace(self.target)
        self._metadata.unlink(missing_ok=True)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self._metadata.unlink(missing_ok=True)


def _length(response: requests.Response) -> int | None:
    stated = response.headers.get("Content-Length", "")
    return int(stated) if stated.isdecimal() else None


def _validator(response: requests.Response) -> str | None:
    """Return ETag or Last-Modified. A weak ETag does not guarantee equal bytes and cannot be used in a request."""
    tag = response.headers.get("ETag", "W/")
    return response.headers.get("Last-Modified") if tag.startswith("W/") else tag


def _fetch(part: _Part, attempts: int, wait: float, timeout: float, log: Callable[[str], object]) -> None:
    for attempt in range(attempts):
        try:
            return _attempt(part, timeout)
        except _AttemptError as error:
            reason = error
        if attempt + 1 < attempts:
            pause = wait * 2**attempt
            log(f"{part.target.name}: {reason} ({part.progress} fetched). Trying again in {pause:g} s.")
            time.sleep(pause)
    saved = f"{part.progress} are in {part.path}. Run the same command to resume" if part.size else "Try later"
    raise DataError(f"{part.url}: {reason}, at the last of {attempts} attempts. {saved}.")


def _attempt(part: _Part, timeout: float) -> None:
    """Request the missing part. Raises _AttemptError if another attempt may succeed, else DataError."""
    response = _request(part, timeout)
    if response.status_code in (206, 416):
        if part.is_complete(response):
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
        raise _AttemptError("the connection was interrupted")


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
        raise DataError(f"{part.url}: cannot be requested ({error}). Correct the address.") from None


def _check_status(response: requests.Response, part: _Part) -> None:
    status = response.status_code
    if status >= 500 or status in BUSY:
        raise _AttemptError(f"the server answers {status} {response.reason}")
    if status != 200 and not (status == 206 and part.size):
        raise DataError(f"{part.url}: the server answers {status} {response.reason}. Correct the address.")
    is_page = response.headers.get("Content-Type", "").startswith("text/html")
    if is_page and part.target.suffix not in (".html", ".htm"):
        raise DataError(
            f"{part.url}: the server sends a web page, not a file. It may require a login or a confirmation. "
            "Give the address of the file itself, or fetch it with a browser."
        )


def _receive(response: requests.Response, part: _Part) -> None:
    # Keep the stored bytes, even if the server declares compression: the digest refers to them.
    response.raw.headers.pop("Content-Encoding", None)
    missing = 0 if part.total is None else part.total - part.size
    with progress(f"rest of {part.target.name}" if part.size else part.target.name, missing) as advance:
        try:
            for chunk in response.iter_content(CHUNK):
                part.write(chunk)
                advance(len(chunk))
        except requests.RequestException:
            raise _AttemptError("the connection was interrupted") from None
