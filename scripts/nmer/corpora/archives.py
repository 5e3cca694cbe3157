"""Archives (zip, tar), unpacked whole or not at all, and never outside their folder.

Names, kinds and sizes of all members are checked before anything is written. Members are then unpacked into a temporary
folder, and take their places when the archive is read to its end.
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
"""Bytes that an archive may take up unpacked."""
RATIO = 200
"""How many times its own size an archive may take up unpacked, where that is more than HARMLESS bytes."""
HARMLESS = 2**30
BLOCK = 512
"""Bytes that a member counts besides its content, so that millions of empty ones have a size too; a block of a tar."""
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
    """How many files an archive brought, and how many of its files stood there already, with the same content."""

    new: int
    kept: int


@dataclass(frozen=True)
class _Member:
    name: str
    sort: str  # file, folder, or what else it is
    size: int
    open: Callable[[], IO[bytes]]
    header: tarfile.TarInfo | None = None  # of a tar


@dataclass(frozen=True)
class _Archive:
    members: Iterable[_Member]
    finish: Callable[[], None]  # reads what follows the last member; raises if the archive is cut off there


def unpack(
    path: str | Path, folder: str | Path, largest: int = LARGEST, ratio: int = RATIO, harmless: int = HARMLESS
) -> Unpacked:
    """Unpack an archive (.zip, .tar, .tar.gz, .tgz, .tar.xz, .txz) into a folder that exists.

    Sizes in bytes. A file that stands there already with the member's content is kept; so a second call changes
    nothing, and a call after a crash completes what is missing. Permissions, owners and times are not taken from the
    archive. Raises DataError, with nothing written, for a damaged archive, a member that is neither file nor folder or
    that leads out of the folder, a size beyond the limits, and a file that stands there with other content.
    """
    path, folder = Path(path), Path(folder)
    with _damage_in_one_line(path), _opened(path) as archive:
        members = _checked(path, archive, folder, largest, max(harmless, ratio * path.stat().st_size))
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".{path.name}.", suffix=".tmp") as temporary:
            files = [member for member in members if member.sort == "file"]
            new = []
            with progress(f"unpacking {path.name}", sum(member.size for member in files)) as advance:
                for member in files:
                    target = folder / member.name
                    if not os.path.lexists(target):
                        _write(member, Path(temporary) / member.name, advance)
                        new.append(member.name)
                    elif not _same(member, target, advance):
                        raise _in_the_way(path, target)
            archive.finish()
            for member in members:
                if member.sort == "folder":
                    (folder / member.name).mkdir(parents=True, exist_ok=True)
            for name in new:
                target = folder / name
                if os.path.lexists(target):
                    raise _in_the_way(path, target)
                target.parent.mkdir(parents=True, exist_ok=True)
                (Path(temporary) / name).replace(target)
    return Unpacked(new=len(new), kept=len(files) - len(new))


# What is looked at before anything is written


def _checked(path: Path, archive: _Archive, folder: Path, largest: int, limit: int) -> list[_Member]:
    """The members, under plain names, in the archive's order. Raises DataError for the first that is refused."""
    found: dict[str, _Member] = {}
    total = missing = 0
    for member in archive.members:
        place = _place(path, member)
        # Sizes first, for each name and size costs memory or time: the listing of a bomb is not read to its end.
        total += member.size + BLOCK
        if total > min(largest, limit):
            bound = f"{min(largest, limit) / 2**30:.3g} GiB"
            raise DataError(f"{path}: would take up more than {bound} unpacked. Unpack it yourself if you trust it.")
        if place == PurePosixPath("."):
            continue
        name = str(place)
        if name in found and not found[name].sort == member.sort == "folder":
            raise DataError(f"{path}: member {name!r} is there twice. Unpack it yourself if you trust it.")
        missing += _room(path, member, folder, place)
        found[name] = replace(member, name=name)
    files = {name for name, member in found.items() if member.sort == "file"}
    for name in found:
        if any(str(parent) in files for parent in PurePosixPath(name).parents):
            raise DataError(f"{path}: member {name!r} lies in a file. Unpack it yourself if you trust it.")
    if not files:
        raise DataError(f"{path}: holds no file. Correct the address, or fetch it without 'unpack'.")
    if missing > shutil.disk_usage(folder).free:
        raise DataError(f"{path}: needs {missing / 2**30:.1f} GiB in {folder} to be unpacked. Make room there.")
    return list(found.values())


def _place(path: Path, member: _Member) -> PurePosixPath:
    """Where a member goes, relative to the folder."""
    name = member.name
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts:
        raise DataError(f"{path}: member {name!r} leads out of the folder. Do not unpack this archive.")
    if "\\" in name or name[1:2] == ":" or not name.isprintable():
        raise DataError(f"{path}: member {name!r} has no plain name. Unpack it yourself if you trust it.")
    if member.sort not in ("file", "folder") or member.size < 0:
        raise DataError(f"{path}: member {name!r} is a {member.sort}, and only files are unpacked. Unpack it yourself.")
    return place


def _room(path: Path, member: _Member, folder: Path, place: PurePosixPath) -> int:
    """Bytes that a member will take up. Raises DataError if something stands in its place or leads out."""
    target = folder / place
    if not Path(os.path.realpath(target)).is_relative_to(os.path.realpath(folder)):
        raise DataError(f"{path}: a link in {folder} leads '{place}' out of it. Move the link away.")
    _ask_python(path, member, folder)
    for above in target.parents[: len(place.parts) - 1]:
        if os.path.lexists(above) and not above.is_dir():
            raise _in_the_way(path, above)
    if not os.path.lexists(target):
        return member.size
    if member.sort == "folder" and target.is_dir():
        return 0
    if member.sort == "folder" or not target.is_file() or target.stat().st_size != member.size:
        raise _in_the_way(path, target)
    return 0


def _ask_python(path: Path, member: _Member, folder: Path) -> None:
    """A second opinion on a member of a tar: Python's own rules for data (from 3.11.4 on)."""
    if member.header is not None and hasattr(tarfile, "data_filter"):
        try:
            tarfile.data_filter(member.header, str(folder))
        except tarfile.FilterError as error:
            raise DataError(f"{path}: {error}. Do not unpack this archive.") from None


def _in_the_way(path: Path, target: Path) -> DataError:
    return DataError(f"{target}: stands there already and is not the one in {path.name}. Move it away.")


# Reading and writing


@contextmanager
def _damage_in_one_line(path: Path) -> Iterator[None]:
    try:
        yield
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # decompressors raise it without a number
            where = f" at {error.filename}" if error.filename else ""
            raise DataError(f"{path}: cannot be unpacked: {error.strerror}{where}. Set that right first.") from None
        reason = str(error).rstrip(".") or type(error).__name__
        raise DataError(f"{path}: not a whole archive ({reason}). Delete it and fetch it again.") from None


@contextmanager
def _opened(path: Path) -> Iterator[_Archive]:
    name = path.name.lower()
    if name.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            yield _Archive(_zip_members(archive), lambda: None)
        return
    opener = gzip.open if name.endswith("gz") else lzma.open if name.endswith("xz") else open
    with cast(IO[bytes], opener(path, "rb")) as file:
        stream = _Stream(file)
        # Enough of a file for a tar that is only read.
        with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r:") as archive:
            yield _Archive(_tar_members(archive), lambda: _read_to_the_end(stream, archive.offset))


class _Stream:
    """A file to be read in small pieces: a header of a tar could ask for gigabytes of memory at once."""

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
            sort = "file under a password"
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


def _read_to_the_end(stream: _Stream, end: int) -> None:
    """Read a tar from where its listing ended: a block of zeros, and what completes the check of its compression."""
    stream.seek(end)
    if stream.read(BLOCK) != bytes(BLOCK):
        raise tarfile.ReadError("it breaks off")
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
        raise tarfile.ReadError(f"{member.name!r} breaks off")


def _same(member: _Member, target: Path, advance: Callable[[int], object]) -> bool:
    """Whether a file has the content of a member of its size."""
    with member.open() as source, target.open("rb") as stream:
        while chunk := source.read(CHUNK):
            if stream.read(len(chunk)) != chunk:
                return False
            advance(len(chunk))
        return not stream.read(1)
