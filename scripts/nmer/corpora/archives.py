"""Unpacking of archives (zip, tar): completely or not at all, and never outside the folder.

Names, types and sizes of all members are checked before anything is written. Members are unpacked into a temporary
folder and moved to their places after the whole archive was read.
"""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, cast

from nmer.errors import DataError
from nmer.progress import progress

LARGEST = 64 * 2**30
"""Largest unpacked size of an archive in bytes."""
RATIO = 200
"""Largest ratio of unpacked to packed size, for archives that unpack to more than UNLIMITED_BELOW bytes."""
UNLIMITED_BELOW = 2**30
BLOCK = 512
"""Bytes counted per member besides its content (a block of a tar), so millions of empty members have a size too."""
CHUNK = 2**20

_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    ValueError,
)


@dataclass(frozen=True)
class Unpacked:
    """The result of unpacking. new: number of written files. kept: number of existing files with the same content."""

    new: int
    kept: int


@dataclass(frozen=True)
class _Member:
    name: str
    sort: str  # file, folder, or another type such as link
    size: int
    open: Callable[[], IO[bytes]]
    header: tarfile.TarInfo | None = None  # of a tar member


@dataclass(frozen=True)
class _Archive:
    members: Iterable[_Member]
    finish: Callable[[], None]  # reads the rest after the last member; raises if it is truncated


def unpack(
    path: str | Path,
    folder: str | Path,
    largest: int = LARGEST,
    ratio: int = RATIO,
    unlimited_below: int = UNLIMITED_BELOW,
) -> Unpacked:
    """Unpack an archive (.zip, .tar, .tar.gz, .tgz, .tar.xz, .txz) into a folder that exists.

    Sizes are in bytes. An existing file with the content of the member is kept, so a second call changes nothing and a
    call after a crash completes the rest. Permissions, owners and times of the archive are ignored. Raises DataError
    without writing anything for a damaged archive, a member that is neither file nor folder or that leads out of the
    folder, a size beyond the limits, and an existing file with other content.
    """
    path, folder = Path(path), Path(folder)
    with _as_data_error(path), _opened(path) as archive:
        members = _checked(path, archive, folder, largest, max(unlimited_below, ratio * path.stat().st_size))
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".{path.name}.", suffix=".tmp") as temporary:
            files = [member for member in members if member.sort == "file"]
            new = []
            with progress(f"unpacking {path.name}", sum(member.size for member in files)) as advance:
                for member in files:
                    target = folder / member.name
                    if not os.path.lexists(target):
                        _write(member, Path(temporary) / member.name, advance)
                        new.append(member.name)
                    elif not _has_same_content(member, target, advance):
                        raise _conflict(path, target)
            archive.finish()
            for member in members:
                if member.sort == "folder":
                    (folder / member.name).mkdir(parents=True, exist_ok=True)
            for name in new:
                target = folder / name
                if os.path.lexists(target):
                    raise _conflict(path, target)
                target.parent.mkdir(parents=True, exist_ok=True)
                (Path(temporary) / name).replace(target)
    return Unpacked(new=len(new), kept=len(files) - len(new))


# Checks before anything is written


def _checked(path: Path, archive: _Archive, folder: Path, largest: int, limit: int) -> list[_Member]:
    """Check all members and return them under plain names, in order. Raises DataError for the first refused member."""
    members: dict[str, _Member] = {}
    total = missing = 0
    for member in archive.members:
        place = _relative_path(path, member)
        # Check sizes first, so the listing of a decompression bomb is not read to its end.
        total += member.size + BLOCK
        if total > min(largest, limit):
            bound = f"{min(largest, limit) / 2**30:.3g} GiB"
            raise DataError(f"{path}: would take up more than {bound} unpacked. Unpack it yourself if you trust it.")
        if place == PurePosixPath("."):
            continue
        name = str(place)
        if name in members and not members[name].sort == member.sort == "folder":
            raise DataError(f"{path}: member {name!r} occurs twice. Unpack the archive yourself if you trust it.")
        missing += _bytes_to_write(path, member, folder, place)
        members[name] = replace(member, name=name)
    files = {name for name, member in members.items() if member.sort == "file"}
    for name in members:
        if any(str(parent) in files for parent in PurePosixPath(name).parents):
            raise DataError(f"{path}: member {name!r} is inside a file. Unpack the archive yourself if you trust it.")
    if not files:
        raise DataError(f"{path}: contains no files. Correct the address, or fetch it without 'unpack'.")
    if missing > shutil.disk_usage(folder).free:
        raise DataError(f"{path}: needs {missing / 2**30:.1f} GiB in {folder} to unpack. Make room there.")
    return list(members.values())


def _relative_path(path: Path, member: _Member) -> PurePosixPath:
    """Return the path of a member relative to the folder."""
    name = member.name
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts:
        raise DataError(f"{path}: member {name!r} leads out of the folder. Do not unpack this archive.")
    if "\\" in name or name[1:2] == ":" or not name.isprintable():
        raise DataError(f"{path}: member {name!r} has an unusual name. Unpack the archive yourself if you trust it.")
    if member.sort not in ("file", "folder") or member.size < 0:
        raise DataError(f"{path}: member {name!r} is a {member.sort}, and only files are unpacked. Unpack it yourself.")
    return place


def _bytes_to_write(path: Path, member: _Member, folder: Path, place: PurePosixPath) -> int:
    """Return the bytes to write for a member. Raises DataError if its path is taken or leads out of the folder."""
    target = folder / place
    if not Path(os.path.realpath(target)).is_relative_to(os.path.realpath(folder)):
        raise DataError(f"{path}: a link in {folder} leads '{place}' out of it. Move the link away.")
    _apply_data_filter(path, member, folder)
    for above in target.parents[: len(place.parts) - 1]:
        if os.path.lexists(above) and not above.is_dir():
            raise _conflict(path, above)
    if not os.path.lexists(target):
        return member.size
    if member.sort == "folder" and target.is_dir():
        return 0
    if member.sort == "folder" or not target.is_file() or target.stat().st_size != member.size:
        raise _conflict(path, target)
    return 0


def _apply_data_filter(path: Path, member: _Member, folder: Path) -> None:
    """Also apply Python's own rules to a tar member (from 3.11.4 on)."""
    if member.header is not None and hasattr(tarfile, "data_filter"):
        try:
            tarfile.data_filter(member.header, str(folder))
        except tarfile.FilterError as error:
            raise DataError(f"{path}: {error}. Do not unpack this archive.") from None


def _conflict(path: Path, target: Path) -> DataError:
    return DataError(f"{target}: exists and differs from the one in {path.name}. Move it away.")


# Reading and writing


@contextmanager
def _as_data_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # decompressors raise OSError without a number
            where = f" at {error.filename}" if error.filename else ""
            raise DataError(f"{path}: cannot be unpacked: {error.strerror}{where}. Fix that and run again.") from None
        reason = str(error).rstrip(".") or type(error).__name__
        raise DataError(f"{path}: damaged archive ({reason}). Delete it and fetch it again.") from None


@contextmanager
def _opened(path: Path) -> Iterator[_Archive]:
    name = path.name.lower()
    if name.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            yield _Archive(_zip_members(archive), lambda: None)
        return
    opener = gzip.open if name.endswith("gz") else lzma.open if name.endswith("xz") else open
    with cast(IO[bytes], opener(path, "rb")) as file:
        stream = _BoundedReader(file)
        # The reader supports what tarfile needs for reading.
        with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r:") as archive:
            yield _Archive(_tar_members(archive), lambda: _read_to_the_end(stream, archive.offset))


class _BoundedReader:
    """A file read in small pieces: a tar header could request gigabytes of memory at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= 16 * CHUNK:
            raise tarfile.ReadError("a header is too long")
        return self._file.read(size)


def _zip_members(archive: zipfile.ZipFile) -> Iterator[_Member]:
    for info in archive.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        sort = "link" if kind == stat.S_IFLNK else "folder" if info.is_dir() else "file"
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            sort = "device"
        elif info.flag_bits & 1:
            sort = "file with a password"
        yield _Member(info.filename, sort, info.file_size, partial(archive.open, info))


def _tar_members(archive: tarfile.TarFile) -> Iterator[_Member]:
    for info in archive:
        sort = "file" if info.isreg() else "folder" if info.isdir() else "device"
        sort = "link" if info.issym() or info.islnk() else sort
        yield _Member(info.name, sort, info.size, partial(_extracted, archive, info), info)


def _extracted(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(info)
    if content is None:
        raise tarfile.ReadError(f"{info.name!r} has no content")
    return content


def _read_to_the_end(stream: _BoundedReader, end: int) -> None:
    """Read a tar from the end of its listing: a block of zeros, and the checksums of its compression."""
    stream.seek(end)
    if stream.read(BLOCK) != bytes(BLOCK):
        raise tarfile.ReadError("it is truncated")
    for _ in range(LARGEST // CHUNK):
        if not stream.read(CHUNK):
            return
    raise tarfile.ReadError("it does not end")


def _write(member: _Member, target: Path, advance: Callable[[int], object]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with member.open() as source, target.open("xb") as stream:
        while chunk := source.read(CHUNK):
            advance(stream.write(chunk))
    if target.stat().st_size != member.size:
        raise tarfile.ReadError(f"{member.name!r} is truncated")


def _has_same_content(member: _Member, target: Path, advance: Callable[[int], object]) -> bool:
    """Return whether a file has the content of a member of the same size."""
    with member.open() as source, target.open("rb") as stream:
        while chunk := source.read(CHUNK):
            if stream.read(len(chunk)) != chunk:
                return False
            advance(len(chunk))
        return not stream.read(1)
