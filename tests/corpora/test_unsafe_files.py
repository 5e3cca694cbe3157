"""Invalid and malicious files end in one message that names the file, with nothing written or executed.

Other invalid inputs are tested with the valid ones: lists and labels in test_build_features.py, tables and ragged files
in test_generic_layouts.py, lengths in test_mosei_variants.py, sequences in test_csd.py, opcodes of pickles in
test_unpickle.py.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import pickle
import resource
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import build_features
import h5py
import numpy as np
import pytest

VISION = "V/denseface.h5"
LIST = "target/1/trn_label.npy"
NAMES = "target/1/trn_int2name.npy"


def first_name(folder: Path) -> str:
    with h5py.File(folder / VISION) as file:
        return next(iter(file))


def in_vision(change: Callable[[h5py.File, str, Path], None]) -> Callable[[Path], None]:
    """Return a change of the first utterance of the visual features."""

    def damage(folder: Path) -> None:
        name = first_name(folder)
        with h5py.File(folder / VISION, "r+") as file:
            del file[name]
            change(file, name, folder)

    return damage


def external_link(file: h5py.File, name: str, folder: Path) -> None:
    other = folder.parent / "other.h5"
    with h5py.File(other, "w") as secret:
        secret["secret"] = np.ones((4, 5))
    file[name] = h5py.ExternalLink(str(other), "/secret")


def soft_link(file: h5py.File, name: str, _folder: Path) -> None:
    file[name] = h5py.SoftLink("/" + next(iter(file)))


def external_storage(file: h5py.File, name: str, folder: Path) -> None:
    (folder.parent / "secret.bin").write_bytes(bytes(4 * 4 * 5))
    file.create_dataset(name, (4, 5), np.float32, external=[(str(folder.parent / "secret.bin"), 0, 80)])


def virtual_dataset(file: h5py.File, name: str, folder: Path) -> None:
    other = folder.parent / "other.h5"
    with h5py.File(other, "w") as secret:
        secret["secret"] = np.ones((4, 5), np.float32)
    virtual = h5py.VirtualLayout((4, 5), np.float32)
    virtual[:] = h5py.VirtualSource(str(other), "secret", (4, 5))
    file.create_virtual_dataset(name, virtual)


def huge_shape(file: h5py.File, name: str, _folder: Path) -> None:
    file.create_dataset(name, (10**9, 5), np.float64, chunks=(1000, 5))


def huge_but_stored(file: h5py.File, name: str, _folder: Path) -> None:
    """Write an array within the compression ratio that exceeds the limit of one read."""
    stored = file.create_dataset(name, (60_000_000, 5), np.float32, chunks=(2_000_000, 5), compression="gzip")
    # Compress once and store thirty times, which is fast.
    block = zlib.compress(bytes(2_000_000 * 5 * 4))
    for start in range(0, len(stored), 2_000_000):
        stored.id.write_direct_chunk((start, 0), block)
    assert not stored[59_999_990:].any()


def as_group(file: h5py.File, name: str, _folder: Path) -> None:
    file.create_group(name)


def as_text(file: h5py.File, name: str, _folder: Path) -> None:
    file[name] = [["a"] * 5] * 4


def as_references(file: h5py.File, name: str, _folder: Path) -> None:
    file.create_dataset(name, (4, 5), h5py.ref_dtype)


def as_scalar(file: h5py.File, name: str, _folder: Path) -> None:
    file[name] = 1.0


def as_empty(file: h5py.File, name: str, _folder: Path) -> None:
    file[name] = h5py.Empty("f")


def as_time(file: h5py.File, name: str, _folder: Path) -> None:
    space = h5py.h5s.create_simple((4, 5))
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.UNIX_D32LE, space)


def broken_chunk(folder: Path) -> None:
    """Overwrite compressed values with junk: the file opens, but the values cannot be read."""
    name = first_name(folder)
    with h5py.File(folder / VISION, "r+") as file:
        del file[name]
        stored = file.create_dataset(name, (4, 5), np.float32, chunks=(4, 5), compression="gzip")
        stored[...] = np.arange(20).reshape(4, 5)
        place = stored.id.get_chunk_info(0)
    with (folder / VISION).open("r+b") as stream:
        stream.seek(place.byte_offset)
        stream.write(b"\xff" * place.size)


def npy(shape: tuple, dtype: str, content: bytes) -> bytes:
    """Return a .npy file with any header."""
    header = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def written(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def a_folder(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


def everywhere(value: float) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        with h5py.File(folder / VISION, "r+") as file:
            for name in file:
                file[name][...] = value

    return damage


def dangling_link(folder: Path) -> None:
    (folder / LIST).unlink()
    (folder / LIST).symlink_to(folder / "nowhere.npy")


def link_to_itself(folder: Path) -> None:
    (folder / VISION).unlink()
    (folder / VISION).symlink_to(folder / VISION)


def strange_id(folder: Path) -> None:
    names = np.load(folder / NAMES).astype("S40")
    names[0] = b"recording7"
    np.save(folder / NAMES, names)


def bytes_that_are_no_text(folder: Path) -> None:
    names = np.load(folder / NAMES).astype("S40")
    names[0] = b"\xff\xfe\xfd"
    np.save(folder / NAMES, names)


IEMOCAP = {
    "external link": (in_vision(external_link), VISION, "is a link to another place or file; refused"),
    "soft link": (in_vision(soft_link), VISION, "is a link to another place or file; refused"),
    "external storage": (in_vision(external_storage), VISION, "takes its values from another file; refused"),
    "virtual dataset": (in_vision(virtual_dataset), VISION, "takes its values from another file; refused"),
    "huge declared shape": (in_vision(huge_shape), VISION, "declares 40000000000 bytes but stores 0"),
    "larger than one read": (in_vision(huge_but_stored), VISION, "more than the limit of 1073741824"),
    "group instead of an array": (in_vision(as_group), VISION, "is a group where an array is expected"),
    "text instead of numbers": (in_vision(as_text), VISION, "where numbers are expected"),
    "references instead of numbers": (in_vision(as_references), VISION, "where numbers are expected"),
    "scalar instead of a sequence": (in_vision(as_scalar), VISION, "has shape ()"),
    "no value at all": (in_vision(as_empty), VISION, "holds no values"),
    "type unknown to NumPy": (in_vision(as_time), VISION, "cannot be read"),
    "broken compressed values": (broken_chunk, VISION, "cannot be read"),
    "empty HDF5": (written(VISION, b""), VISION, "cannot be read as HDF5"),
    "text as HDF5": (written(VISION, b"<html>404 Not Found</html>"), VISION, "cannot be read as HDF5"),
    "folder as HDF5": (a_folder(VISION), VISION, "no such file"),
    "link to itself": (link_to_itself, VISION, "no such file"),
    "NaN everywhere": (everywhere(np.nan), VISION, "no information"),
    "one value everywhere": (everywhere(3.0), VISION, "no information"),
    "empty list": (written(LIST, b""), LIST, "cannot be read as a plain NumPy array"),
    "text as list": (written(LIST, b"id,label\n"), LIST, "cannot be read as a plain NumPy array"),
    "huge list": (written(LIST, npy((10**14,), "<f8", bytes(64))), LIST, "declares 800000000000000 bytes but has 64"),
    "header with code": (written(LIST, npy("__import__('os')", "<f8", b"")), LIST, "cannot be read as a plain"),
    "pickled list": (written(NAMES, npy((1,), "|O", pickle.dumps([1]))), NAMES, "contains Python objects; refused"),
    "truncated list": (written(LIST, npy((9, 4), "<f8", bytes(8))), LIST, "declares 288 bytes but has 8"),
    "folder as list": (a_folder(LIST), LIST, "cannot be read"),
    "dangling link": (dangling_link, LIST, "no such file"),
    "id without a speaker": (strange_id, "", "its speaker is unknown"),
    "id that is not UTF-8": (bytes_that_are_no_text, NAMES, "is not UTF-8"),
}


@pytest.mark.parametrize("name", list(IEMOCAP))
def test_an_unsafe_or_damaged_file_of_iemocap_is_named(iemocap, step, name):
    damage, file, expected = IEMOCAP[name]
    damage(iemocap)
    message = step.refuse(iemocap, "iemocap_mmin")
    assert file in message
    assert expected in message


class Call:
    """An object that pickles as a call of ``function`` with ``arguments``."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple:
        return self._call


def repeated(depth: int) -> bytes:
    """Nest lists of ten references each: a few hundred bytes, ten to the power of ``depth`` elements if unfolded."""
    content: object = ["x"]
    for _ in range(depth):
        content = [content] * 10
    return pickle.dumps(content)


def pickles(marker: Path) -> dict[str, tuple[bytes, str]]:
    harmless = pickle.dumps({"train": {}, "valid": {}, "test": {}})
    return {
        "shell command": (pickle.dumps(Call(os.system, f"touch {marker}")), "refers to posix.system; refused"),
        "eval": (pickle.dumps({"train": Call(builtins.eval, f"open({str(marker)!r}, 'w')")}), "builtins.eval; refused"),
        "file opened": (pickle.dumps([Call(open, str(marker), "w")]), "refers to io.open; refused"),
        "memory bomb": (b"\x80\x02]r\xff\xff\xff\x7f.", "has invalid memo indices; refused"),
        "array bomb": (
            pickle.dumps({"train": np.zeros((2, 3))}).replace(
                b"K\x02K\x03\x86", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"
            ),
            "'train' is damaged",
        ),
        "declared length too long": (b"\x80\x04\x8e" + struct.pack("<Q", 2**46) + b"xx", "damaged pickle"),
        "nested lists": (b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".", "damaged pickle"),
        "repeated lists": (repeated(60), "holds a list"),
        "number": (pickle.dumps(5), "holds a int"),
        "empty splits": (harmless, "train has no key 'audio'"),
        "empty file": (b"", "damaged pickle"),
        "zip archive": (b"PK\x03\x04" + bytes(100), "damaged pickle"),
        "web page": (b"<html>Google Drive - Virus scan warning</html>", "damaged pickle"),
    }


@pytest.mark.parametrize("name", list(pickles(Path("x"))))
def test_an_unsafe_pickle_is_refused_and_runs_nothing(tmp_path, step, name):
    marker = tmp_path / "executed"
    content, expected = pickles(marker)[name]
    path = tmp_path / "corpus.pkl"
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    message = step.refuse(path, "mosei_pickle")
    assert "corpus.pkl" in message
    assert expected in message
    assert not marker.exists()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000, "kilobytes"


def test_a_pickle_above_the_limit_is_refused(tmp_path, step, monkeypatch):
    # The digest of a gibibyte takes seconds and is not tested here.
    monkeypatch.setattr(build_features, "file_digest", lambda _path: "digest")
    path = tmp_path / "corpus.pkl"
    with path.open("wb") as stream:
        stream.truncate(2**30 + 1)
    assert "more than the limit of 1073741824" in step.refuse(path, "mosei_pickle", options={"limit_gib": 1})


@contextlib.contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """Run as an unprivileged user if the tests run as root, for whom permissions do not apply."""
    for parent in [folder, *folder.parents]:
        if parent.stat().st_mode & 0o005 != 0o005:
            parent.chmod(parent.stat().st_mode | 0o055)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize("name", ["A/comparE.h5", "A", "target/2/tst_label.npy"])
def test_a_file_without_read_permission_is_named(iemocap, step, name):
    step.output.parent.mkdir()
    step.output.parent.chmod(0o777)
    (iemocap / name).chmod(0)
    with as_nobody(iemocap):
        message = step.refuse(iemocap, "iemocap_mmin")
    (iemocap / name).chmod(0o755)
    assert name in message
    assert "ermission denied" in message or "no such file" in message


def test_a_folder_where_a_file_is_expected_is_named(tmp_path, step):
    (tmp_path / "corpus.pkl").mkdir()
    assert "corpus.pkl: is a folder" in step.refuse(tmp_path / "corpus.pkl", "mosei_pickle")


def test_a_file_where_a_folder_is_expected_is_named(tiny, step):
    assert ".pkl: is a file" in step.refuse(tiny["mosei_pickle"], "iemocap_mmin")
