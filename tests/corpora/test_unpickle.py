"""The restricted unpickler reads plain data and executes nothing."""

from __future__ import annotations

import builtins
import collections
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from nmer.corpora.unpickle import load_pickle
from nmer.errors import DataError

LIMIT = 2**20


class Reduce:
    """An object that pickles as a call of ``function`` with ``arguments``."""

    def __init__(self, function, *arguments):
        self._call = function, arguments

    def __reduce__(self):
        return self._call


def load(folder: Path, content: bytes) -> object:
    path = folder / "file.pkl"
    path.write_bytes(content)
    return load_pickle(path, LIMIT)


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_of_every_protocol_and_type_are_read_unchanged(tmp_path, protocol):
    stored = {
        "float32": np.arange(12, dtype=np.float32).reshape(3, 4),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big_endian": np.arange(3, dtype=">f8"),
        "sliced": np.arange(20.0).reshape(4, 5)[:, ::2],
        "empty": np.zeros((0, 3)),
        "text": np.array([["video_1"], ["vidéo_22"]]),
        "bytes": np.array([[b"video", b"0.5", b"2.5"]]),
        "scalar": np.float64(2.5),
    }
    loaded = load(tmp_path, pickle.dumps({"train": stored, "list": [1, 2.5, "x", b"y", None, (True,)]}, protocol))
    for name, expected in stored.items():
        np.testing.assert_array_equal(loaded["train"][name], expected)
    assert loaded["list"] == [1, 2.5, "x", b"y", None, (True,)]


def test_pickles_of_numpy_before_version_2_are_read(tmp_path):
    content = pickle.dumps(np.arange(3.0), 2).replace(b"numpy._core", b"numpy.core")
    assert b"numpy.core" in content
    np.testing.assert_array_equal(load(tmp_path, content), [0, 1, 2])


def test_object_arrays_of_text_are_read(tmp_path):
    names = load(tmp_path, pickle.dumps(np.array([["a", b"b"]], dtype=object)))
    assert names.tolist() == [["a", "b"]]
    with pytest.raises(DataError, match="Python objects"):
        load(tmp_path, pickle.dumps(np.array([{}, 1], dtype=object)))


def malicious(marker: str) -> dict[str, bytes]:
    touch = f"touch {marker}"
    return {
        "posix.system": pickle.dumps(Reduce(os.system, touch)),
        "builtins.eval": pickle.dumps(Reduce(builtins.eval, f"open({marker!r}, 'w')")),
        "builtins.getattr": b"cbuiltins\ngetattr\n(cos\nsystem\nS'x'\ntR.",
        "io.open": pickle.dumps([1, {"x": (Reduce(builtins.open, marker, "w"),)}]),
        "numpy.load": pickle.dumps(Reduce(np.load, marker)),
        "numpy.ndarray.__class__": b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.",
        "collections.defaultdict": pickle.dumps(collections.defaultdict(list)),
        "os.system": b"cos\nsystem\n(S'" + touch.encode() + b"'\ntR.",
        "subprocess.Popen": b"(S'" + touch.encode() + b"'\nisubprocess\nPopen\n.",
    }


@pytest.mark.parametrize("name", list(malicious("x")))
def test_a_pickle_with_any_other_name_is_refused_and_runs_nothing(tmp_path, name):
    marker = tmp_path / "executed"
    with pytest.raises(DataError, match=rf"refers to {name.replace('.', '[.]')}; refused"):
        load(tmp_path, malicious(str(marker))[name])
    assert not marker.exists()


def test_a_nested_call_below_an_allowed_one_is_refused(tmp_path):
    marker = tmp_path / "executed"
    inner = pickle.dumps(Reduce(os.system, f"touch {marker}"), 0)[:-1]
    content = b"cnumpy\ndtype\n(" + inner + b"tR."
    with pytest.raises(DataError, match=r"posix[.]system; refused"):
        load(tmp_path, content)
    assert not marker.exists()


def test_stand_ins_cannot_be_changed_or_returned(tmp_path):
    altered = b"c_codecs\nencode\n}S'_function'\nS'x'\nsb."
    with pytest.raises(DataError, match="sets the state of a function"):
        load(tmp_path, altered)
    for content in (b"c_codecs\nencode\n.", b"cnumpy\nndarray\n."):
        with pytest.raises(DataError, match="holds a function or type"):
            load(tmp_path, content)
    assert load(tmp_path, pickle.dumps(b"\xff", 2)) == b"\xff"


@pytest.mark.parametrize(
    "content", [b"", b"not a pickle", pickle.dumps(np.arange(1000.0))[:-500], b"\x80\x04]\x94h\x00a."]
)
def test_damaged_pickles_are_named(tmp_path, content):
    with pytest.raises(DataError, match=r"file[.]pkl: damaged pickle"):
        load(tmp_path, content)


def test_a_file_above_the_limit_is_refused_without_reading(tmp_path):
    with pytest.raises(DataError, match="more than the limit"):
        load(tmp_path, pickle.dumps(b"x" * (LIMIT + 1)))
