"""The list of files to fetch for a dataset (config key ``download``), checked. Light: the plan imports it at once."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from nmer import command
from nmer.errors import ConfigError

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz")
"""Ends of the names of files that can be unpacked."""


@dataclass(frozen=True)
class Download:
    """One file to fetch.

    url: http or https. file: where to put it, relative to the folder of all corpora; default the last part of the URL.
    sha256: its digest, 64 small hexadecimal digits, None = not checked. unpack: whether it is an archive to unpack.
    """

    url: str
    file: str | None = None
    sha256: str | None = None
    unpack: bool = False


@dataclass(frozen=True)
class FetchSettings:
    """What the step is told: the dataset's name, and its list as it stands in the configuration."""

    dataset: str
    download: list[dict[str, Any]]


def download_list(entries: list[dict[str, Any]], dataset: str) -> list[Download]:
    """Check the list of a dataset. Raises ConfigError naming the entry and its key."""
    where = f"datasets.{dataset}.download"
    downloads = [_download(entry, f"{where}.{index}") for index, entry in enumerate(entries)]
    first: dict[str, int] = {}
    for index, download in enumerate(downloads):
        other = first.setdefault(str(download.file), index)
        if other != index:
            raise ConfigError(
                f"{where}.{index}: '{download.file}' is the file of entry {other} too. Name another file."
            )
    return downloads


def _download(entry: dict[str, Any], where: str) -> Download:
    if not isinstance(entry, dict):
        raise ConfigError(f"{where}: {entry!r} is not possible. Give a mapping with the key 'url'.")
    given = command.fill(Download, entry, where)
    for key, sort in (("url", str), ("file", str | None), ("sha256", str | None), ("unpack", bool)):
        if not isinstance(getattr(given, key), sort):
            raise ConfigError(f"{where}.{key}: {getattr(given, key)!r} is not possible. Correct the value.")
    try:
        address = urlsplit(given.url)
        host, _port = address.hostname, address.port
    except ValueError as error:
        raise ConfigError(f"{where}.url: '{given.url}' is no address ({error}). Correct it.") from None
    if address.scheme not in ("http", "https") or not host:
        raise ConfigError(f"{where}.url: '{given.url}' is not possible. Give an address that starts with https://.")
    if address.username or address.password:
        raise ConfigError(f"{where}.url: a password in an address ends up in logs. Write it into ~/.netrc instead.")
    sha256 = given.sha256
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise ConfigError(f"{where}.sha256: '{sha256}' is no SHA-256. Give its 64 hexadecimal digits.")
    file = given.file
    if file is None:
        file = unquote(address.path.rpartition("/")[2])
        if not file:
            raise ConfigError(f"{where}: '{given.url}' does not end in the name of a file. Add the key 'file'.")
    _check_file(file, f"{where}.file")
    if given.unpack and not file.lower().endswith(ARCHIVES):
        raise ConfigError(f"{where}.unpack: '{file}' is no known archive. Its name must end in {', '.join(ARCHIVES)}.")
    return replace(given, file=str(PurePosixPath(file)), sha256=sha256.lower() if sha256 else None)


def _check_file(file: str, where: str) -> None:
    inside = "Give a path inside the folder of key 'data', such as my_corpus/features.pkl."
    path = PurePosixPath(file)
    if not file.isprintable() or not path.parts or file.endswith("/"):
        raise ConfigError(f"{where}: {file!r} names no file. {inside}")
    if path.is_absolute():
        raise ConfigError(f"{where}: '{file}' is an absolute path. {inside}")
    if ".." in path.parts:
        raise ConfigError(f"{where}: '{file}' leads out of its folder. {inside}")
