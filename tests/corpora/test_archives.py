"""An archive is unpacked completely, inside its folder and without overwriting, or not at all."""

from __future__ import annotations

import gzip
import io
import random
import resource
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from nmer.corpora import archives
from nmer.corpora.archives import Unpacked, unpack
from nmer.errors import DataError

FILES = {
    "corpus/A/audio.h5": random.Random(0).randbytes(300_000),
    "corpus/labels.csv": b"id,label\n" * 5000,
    "read.me": b"",
}
MODES = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.xz": "w:xz", ".txz": "w:xz"}
every_kind = pytest.mark.parametrize("suffix", [".zip", *MODES])


def make_zip(path: Path, files: dict[str, bytes], infos: tuple[zipfile.ZipInfo, ...] = ()) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for info in infos:
            archive.writestr(info, "/etc/passwd")
    return path


def make_tar(path: Path, files: dict[str, bytes], infos: tuple[tarfile.TarInfo, ...] = ()) -> Path:
    suffix = next(suffix for suffix in (".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar") if path.name.endswith(suffix))
    with tarfile.open(path, MODES[suffix]) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in infos:
            archive.addfile(info)
    return path


def make(path: Path, files: dict[str, bytes]) -> Path:
    return make_zip(path, files) if path.suffix == ".zip" else make_tar(path, files)


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_special(name: str, kind: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (kind | 0o777) << 16
    return info


@pytest.fixture
def folder(tmp_path) -> Path:
    """The folder to unpack into, which also contains the archives."""
    folder = tmp_path / "outer" / "data"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def refused(folder) -> Callable[..., str]:
    """Unpack; expect one message and no changes; return the message."""

    def call(archive: Path, **limits: int) -> str:
        before = everything(folder.parents[1])
        with pytest.raises(DataError) as raised:
            unpack(archive, folder, **limits)
        assert everything(folder.parents[1]) == before
        assert "\n" not in str(raised.value)
        return str(raised.value)

    return call


def everything(root: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in root.rglob("*")}


def unpacked(folder: Path) -> dict[str, bytes]:
    """Return the content of the folder except archives."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("all."))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


# Unpacking


@every_kind
def test_all_files_are_unpacked_and_nothing_else_is_left(folder, suffix):
    archive = make(folder / f"all{suffix}", FILES)
    assert unpack(archive, folder) == Unpacked(new=3, kept=0)
    assert unpacked(folder) == FILES
    assert sorted(path.name for path in folder.iterdir()) == [archive.name, "corpus", "read.me"]


@every_kind
def test_a_second_call_keeps_files_and_restores_a_missing_one(folder, suffix):
    archive = make(folder / f"all{suffix}", FILES)
    unpack(archive, folder)
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert unpack(archive, folder) == Unpacked(new=0, kept=3)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == times
    (folder / "corpus" / "labels.csv").unlink()
    assert unpack(archive, folder) == Unpacked(new=1, kept=2)
    assert unpacked(folder) == FILES


def test_empty_folders_and_names_of_the_folder_itself_are_accepted(folder):
    infos = (
        special(".", tarfile.DIRTYPE),
        special("./inner/empty", tarfile.DIRTYPE),
        special("inner", tarfile.DIRTYPE),
    )
    unpack(make_tar(folder / "all.tar", {"./a.txt": b"a"}, infos), folder)
    assert unpacked(folder) == {"a.txt": b"a"}
    assert (folder / "inner" / "empty").is_dir()


def test_permissions_and_times_of_the_archive_are_ignored(folder):
    info = tarfile.TarInfo("a.txt")
    info.mode, info.mtime, info.uid = 0o4777, 1, 12345
    unpack(make_tar(folder / "all.tar", {}, (info,)), folder)
    found = (folder / "a.txt").stat()
    (folder / "plain.txt").write_text("")
    assert stat.S_IMODE(found.st_mode) == stat.S_IMODE((folder / "plain.txt").stat().st_mode)
    assert found.st_mtime > 1


# Refused members


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "a/../b", "/tmp/evil", ".."])
@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_a_member_that_leads_out_of_the_folder_is_refused(folder, refused, suffix, name):
    message = refused(make(folder / f"all{suffix}", {"good.txt": b"good", name: b"evil"}))
    assert "leads out of the folder. Do not unpack this archive." in message
    assert not Path("/tmp/evil").exists()


@pytest.mark.parametrize("name", ["a\\..\\evil", "C:/evil", "two\nlines", "bell\a"])
@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_a_member_with_an_unusual_name_is_refused(folder, refused, suffix, name):
    assert "has an unusual name" in refused(make(folder / f"all{suffix}", {"good.txt": b"good", name: b"evil"}))


@pytest.mark.parametrize(
    ("info", "sort"),
    [
        (special("link", tarfile.SYMTYPE, "/etc/passwd"), "link"),
        (special("link", tarfile.SYMTYPE, "good.txt"), "link"),
        (special("link", tarfile.LNKTYPE, "good.txt"), "link"),
        (special("link", tarfile.LNKTYPE, "../../evil"), "link"),
        (special("null", tarfile.CHRTYPE), "device"),
        (special("disk", tarfile.BLKTYPE), "device"),
        (special("pipe", tarfile.FIFOTYPE), "device"),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(folder, refused, info, sort):
    message = refused(make_tar(folder / "all.tar", {"good.txt": b"good"}, (info,)))
    assert f"member '{info.name}' is a {sort}, and only files are unpacked" in message


@pytest.mark.parametrize(
    ("kind", "sort"),
    [(stat.S_IFLNK, "link"), (stat.S_IFCHR, "device"), (stat.S_IFIFO, "device"), (stat.S_IFSOCK, "device")],
)
def test_links_and_devices_in_a_zip_are_refused(folder, refused, kind, sort):
    message = refused(make_zip(folder / "all.zip", {"good.txt": b"good"}, (zip_special("member", kind),)))
    assert f"member 'member' is a {sort}" in message


def test_a_link_that_would_redirect_later_members_is_refused(folder, refused):
    infos = (special("corpus", tarfile.SYMTYPE, ".."), tarfile.TarInfo("corpus/evil"))
    assert "is a link" in refused(make_tar(folder / "all.tar", {}, infos))


@every_kind
def test_a_link_in_the_folder_that_leads_out_of_it_is_not_followed(folder, refused, suffix):
    (folder / "corpus").symlink_to(folder.parent)
    assert "leads 'corpus/A/audio.h5' out of it" in refused(make(folder / f"all{suffix}", FILES))


def test_a_member_with_a_password_is_refused(folder, refused):
    archive = make_zip(folder / "all.zip", {"a.txt": b"a"})
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    assert "file with a password" in refused(archive)


@pytest.mark.parametrize("second", ["a", "./a", "a/b"])
def test_members_with_the_same_path_are_refused(folder, refused, second):
    infos = (tarfile.TarInfo("a"), tarfile.TarInfo(second))
    assert "Unpack the archive yourself if you trust it" in refused(make_tar(folder / "all.tar", {}, infos))


@every_kind
def test_an_archive_without_files_is_refused(folder, refused, suffix):
    assert "contains no files" in refused(make(folder / f"all{suffix}", {}))


# Sizes


@every_kind
def test_an_archive_above_the_size_limit_is_refused(folder, refused, suffix):
    archive = make(folder / f"all{suffix}", FILES)
    assert "would take up more than" in refused(archive, largest=300_000)
    unpack(archive, folder, largest=400_000)


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz", ".tar.xz"])
def test_a_bomb_is_refused_by_its_ratio(folder, refused, suffix):
    archive = make(folder / f"all{suffix}", {"zeros": bytes(20_000_000)})
    assert archive.stat().st_size < 30_000
    assert "would take up more than" in refused(archive, unlimited_below=1_000_000)
    assert unpack(archive, folder).new == 1


def test_a_bomb_of_empty_files_is_refused(folder, refused):
    archive = make_tar(folder / "all.tar.gz", {f"{number:06d}": b"" for number in range(4000)})
    assert "would take up more than" in refused(archive, unlimited_below=1_000_000, ratio=10)


def test_the_listing_of_a_bomb_is_read_up_to_the_limit_only(folder, refused, monkeypatch):
    archive = make_tar(folder / "all.tar.gz", {f"{number:06d}": b"" for number in range(4000)})
    looked_at = []
    check = archives._relative_path
    monkeypatch.setattr(
        archives, "_relative_path", lambda path, member: looked_at.append(member) or check(path, member)
    )
    refused(archive, largest=100 * 512)
    assert len(looked_at) == 101


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_would_fill_the_memory_is_refused(folder, refused, kind):
    header = special("header", kind)
    header.size = 2**26
    archive = folder / "all.tar.gz"
    archive.write_bytes(gzip.compress(header.tobuf() + bytes(2**26 + 1024)))
    assert "damaged archive (a header is too long)" in refused(archive)


def test_overlapping_members_of_a_zip_are_all_counted(folder, refused):
    # Two entries share the same compressed bytes, as in the densest bombs.
    archive = make_zip(folder / "all.zip", {"a": bytes(1_000_000), "b": bytes(1_000_000)})
    content = bytearray(archive.read_bytes())
    second = content.rindex(b"PK\x01\x02")
    content[second + 42 : second + 46] = bytes(4)
    archive.write_bytes(content)
    assert "would take up more than" in refused(archive, largest=1_500_000)
    assert "damaged archive" in refused(archive)


def test_a_full_disk_is_detected_before_unpacking(folder, refused, monkeypatch):
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6 - 100, 100))
    assert "to unpack. Make room there." in refused(make(folder / "all.zip", FILES))


# Existing files


@every_kind
@pytest.mark.parametrize("mine", [b"mine", b"ID,label\n" * 5000])
def test_an_existing_file_with_other_content_is_not_overwritten(folder, refused, suffix, mine):
    (folder / "corpus").mkdir()
    (folder / "corpus" / "labels.csv").write_bytes(mine)
    message = refused(make(folder / f"all{suffix}", FILES))
    assert message.startswith(f"{folder / 'corpus' / 'labels.csv'}: exists and differs from the one in all")


@pytest.mark.parametrize(
    "occupy",
    [
        lambda folder: (folder / "corpus").write_bytes(b"a file in place of a folder"),
        lambda folder: (folder / "read.me").mkdir(),
        lambda folder: (folder / "read.me").symlink_to("nowhere"),
    ],
)
@every_kind
def test_an_existing_path_of_another_type_is_not_touched(folder, refused, suffix, occupy):
    occupy(folder)
    assert "exists and differs" in refused(make(folder / f"all{suffix}", FILES))


# Damage


@every_kind
def test_a_truncated_archive_is_refused(folder, refused, suffix):
    archive = make(folder / f"all{suffix}", FILES)
    whole = archive.read_bytes()
    # A tar ends in padding, which may be truncated.
    least = 10_000 if suffix == ".tar" else 1
    for length in [0, 1, 100, 512, 1000, len(whole) // 2, 300_000, len(whole) - least]:
        archive.write_bytes(whole[:length])
        assert "damaged archive" in refused(archive)


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz", ".tar.xz"])
def test_a_changed_byte_of_the_content_is_detected(folder, refused, suffix):
    archive = make(folder / f"all{suffix}", FILES)
    whole = archive.read_bytes()
    for place in range(1000, len(whole) - 1000, len(whole) // 10):
        archive.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        assert "damaged archive" in refused(archive)


@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
def test_a_damaged_header_does_not_end_a_tar_silently(folder, refused, ending):
    tar = make_tar(folder / "all.tar", {"a.txt": b"a" * 512, "b.txt": b"b" * 512})
    content = bytearray(tar.read_bytes())
    content[1024:1034] = b"?" * 10
    tar.unlink()
    archive = folder / f"all{ending}"
    archive.write_bytes(content if ending == ".tar" else gzip.compress(content))
    assert "damaged archive (it is truncated)" in refused(archive)


@every_kind
@pytest.mark.parametrize("content", [b"<html>Please log in</html>", b"", bytes(4096)])
def test_a_file_that_is_not_an_archive_is_refused(folder, refused, suffix, content):
    archive = folder / f"all{suffix}"
    archive.write_bytes(content)
    assert f"{archive}: " in refused(archive)


@every_kind
def test_a_full_disk_leaves_nothing(folder, refused, suffix):
    archive = make(folder / f"all{suffix}", FILES)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        assert refused(archive).startswith(f"{archive}: cannot be unpacked: File too large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert unpack(archive, folder).new == 3


def test_a_folder_without_write_permission_is_named(folder, refused, monkeypatch):
    def forbidden(*_arguments: object, **_named: object) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(archives.tempfile, "TemporaryDirectory", forbidden)
    assert refused(make(folder / "all.zip", FILES)).endswith(
        f"cannot be unpacked: Permission denied at {folder}. Fix that and run again."
    )
