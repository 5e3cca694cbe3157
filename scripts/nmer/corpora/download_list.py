"""Validation of the list of files to fetch for a dataset (config key ``download``). Imported by the plan."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from nmer import command
from nmer.errors import ConfigError

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz")
"""Suffixes of files that can be unpacked."""


@dataclass(frozen=True)
class Download:
    """One file to fetch.

    url: http or https. file: path relative to the folder of all corpora, by default the last part of the URL.
    sha256: digest, 64 lower-case hexadecimal digits, None = not checked. unpack: whether to unpack the file.
    """

    url: str
    file: str | None = None
    sha256: str | None = None
    unpack: bool = False


@dataclass(frozen=True)
class FetchSettings:
    """Settings of the step: name of the dataset, and its list from the configuration."""

    dataset: str
    download: list[dict[str, Any]]


def download_list(entries: list[dict[str, Any]], dataset: str) -> list[Download]:
    """Validate the list of a dataset. Raises ConfigError that names the entry and its key."""
    where = f"datasets.{dataset}.download"
    downloads = [_download(entry, f"{where}.{index}") for index, entry in enumerate(entries)]
    first: dict[str, int] = {}
    for index, download in enumerate(downloads):
        other = first.setdefault(str(download.file), index)
        if other != index:
            raise ConfigError(
                f"{where}.{index}: '{download.file}' is also the file of entry {other}. Use another name."
            )
    return downloads


def _download(entry: dict[str, Any], where: str) -> Download:
    if not isinstance(entry, dict):
        raise ConfigError(f"{where}: {entry!r} is not possible. Give a mapping with the key 'url'.")
    download = command.fill(Download, entry, where)
    for key, sort in (("url", str), ("file", str | None), ("sha256", str | None), ("unpack", bool)):
        if not isinstance(getattr(download, key), sort):
            raise ConfigError(f"{where}.{key}: {getattr(download, key)!r} is not possible. Correct the value.")
    try:
        address = urlsplit(download.url)
        host, _port = address.hostname, address.port
    except ValueError as error:
        raise ConfigError(f"{where}.url: '{download.url}' is not a valid address ({error}). Correct it.") from None
    if address.scheme not in ("http", "https") or not host:
        raise ConfigError(f"{where}.url: '{download.url}' is not possible. Give an address that starts with https://.")
    if address.username or address.password:
        raise ConfigError(f"{where}.url: a password in an address ends up in logs. Write it into ~/.netrc instead.")
    sha256 = download.sha256
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise ConfigError(f"{where}.sha256: '{sha256}' is not a SHA-256. Give 64 hexadecimal digits.")
    file = download.file
    if file is None:
        file = unquote(address.path.rpartition("/")[2])
        if not file:
            raise ConfigError(f"{where}: '{download.url}' does not end in a file name. Add the key 'file'.")
    _check_file(file, f"{where}.file")
    if download.unpack and not file.lower().endswith(ARCHIVES):
        raise ConfigError(
            f"{where}.unpack: '{file}' is not a known archive. Its name must end in {', '.join(ARCHIVES)}."
        )
    return replace(download, file=str(PurePosixPath(file)), sha256=sha256.lower() if sha256 else None)


def _check_file(file: str, where: str) -> None:
    inside = "Give a path inside the folder of key 'data', such as my_corpus/features.pkl."
    path = PurePosixPath(file)
    if not file.isprintable() or not path.parts or file.endswith("/"):
        raise ConfigError(f"{where}: {file!r} is not a file name. {inside}")
    if path.is_absolute():
        raise ConfigError(f"{where}: '{file}' is an absolute path. {inside}")
    if ".." in path.parts:
        raise ConfigError(f"{where}: '{file}' leads out of its folder. {inside}")
