"""Corpora with one value replaced by junk are read, or refused in one message without output."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import build_features
import h5py
import numpy as np
import pytest
import test_csd
from written_corpora import Arrays, write_folder, write_hdf5

from nmer import command

pytestmark = pytest.mark.slow

MUTANTS = 120
JUNK: list[object] = [
    *(None, True, 3, -1, 2.5, float("nan"), float("inf"), 10**30, 1j, "x", "", "\n", "\ud800", b"\xff"),
    *([], [1], [[1], [2, 3]], (), {}, {"a": 1}, {None: None}, set()),
    *(np.zeros(0), np.zeros((2, 0)), np.zeros((0, 3)), np.array(5.0), np.full(3, np.nan), np.full((3, 3, 3), 1e300)),
    *(np.array([None]), np.array(["a"]), np.array([b"\xff"]), np.zeros(3, complex), np.zeros(2, "M8[s]")),
    *(-np.ones(4, int), np.ones(4, np.uint64) * 2**63),
]
TYPES = ["f2", "i1", "u8", "O", "S", "?", "c8"]


def mutate_pickle(mosei: dict, draw: random.Random, path: Path) -> None:
    content: object = {split: dict(entries) for split, entries in mosei.items()}
    split = draw.choice(list(mosei))
    key, junk = draw.choice(list(mosei[split])), draw.choice(JUNK)
    choice = draw.random()
    if choice < 0.1:
        content = junk
    elif choice < 0.2:
        content[split] = junk
    elif choice < 0.6:
        content[split][key] = junk
    elif choice < 0.8:
        content[split][key] = list(content[split][key])
        content[split][key][draw.randrange(5)] = junk
    else:
        with np.errstate(invalid="ignore"), contextlib.suppress(ValueError):
            content[split][key] = np.array(content[split][key]).astype(draw.choice(TYPES))
    path.write_bytes(pickle.dumps(content, draw.choice([2, 4, 5])))


def mutate_hdf5(draw: random.Random, path: Path) -> None:
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name, junk = draw.choice(names), draw.choice([*JUNK, "a group", "lists"])
        del file[name]
        with contextlib.suppress(TypeError, ValueError, OverflowError, UnicodeError):  # otherwise it is missing
            if isinstance(junk, str) and junk == "a group":
                file.create_group(name)
            elif isinstance(junk, str) and junk == "lists":
                file.create_dataset(name, 3, h5py.vlen_dtype(np.int32))
            else:
                file[name] = junk


def mutate_npy(draw: random.Random, path: Path) -> None:
    with contextlib.suppress(ValueError):
        np.save(path, np.array(draw.choice(JUNK)), allow_pickle=True)


def mutate_text(draw: random.Random, path: Path) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(draw.randrange(1, 6)):
        content[draw.randrange(len(content))] = draw.choice(b',"\n\r\x00\xff;x1\x1b')
    path.write_bytes(content)


Make = Callable[[random.Random, Path], Path]


@pytest.fixture
def makers(tiny, mosei: dict, arrays: Arrays) -> dict[str, Make]:
    """Layout -> a function that writes a mutant of its corpus into a folder and returns its path."""
    arrays.columns["split"] = ["train"] * 15 + ["val"] * 5 + ["test"] * 10
    streams = test_csd.contents()

    def pickled(draw: random.Random, folder: Path) -> Path:
        mutate_pickle(mosei, draw, folder / "x.pkl")
        return folder / "x.pkl"

    def ragged(draw: random.Random, folder: Path) -> Path:
        path = write_hdf5(folder / "x.h5", arrays)
        mutate_hdf5(draw, path)
        return path

    def release(draw: random.Random, folder: Path) -> Path:
        path = Path(shutil.copytree(tiny["iemocap_mmin"], folder / "x"))
        if draw.random() < 0.5:
            mutate_hdf5(draw, path / draw.choice(["A/comparE.h5", "V/denseface.h5", "A/comparE_mean_std.h5"]))
        else:
            mutate_npy(draw, draw.choice(sorted(path.glob("target/*/*.npy"))))
        return path

    def sequences(draw: random.Random, folder: Path) -> Path:
        path = test_csd.write(folder / "x", streams, test_csd.LISTS)
        mutate_hdf5(draw, path / draw.choice(list(test_csd.FILES.values())))
        return path

    def table(draw: random.Random, folder: Path) -> Path:
        path = write_folder(folder / "x", arrays)
        if draw.random() < 0.5:
            mutate_npy(draw, draw.choice(sorted(path.glob("*/*.npy"))))
        else:
            mutate_text(draw, path / "utterances.csv")
        return path

    return {
        "mosei_pickle": pickled,
        "ragged_hdf5": ragged,
        "iemocap_mmin": release,
        "csd": sequences,
        "npy_folder": table,
    }


@pytest.mark.parametrize(
    "layout", ["mosei_pickle", pytest.param("ragged_hdf5", marks=pytest.mark.ci), "iemocap_mmin", "csd", "npy_folder"]
)
def test_a_mutated_corpus_is_read_or_ends_in_one_message(makers, tmp_path, monkeypatch, layout):
    settings = json.dumps({"dataset": "mutant", "layout": layout, "synthetic": True})
    outcomes = set()
    for number in range(MUTANTS):
        folder = tmp_path / str(number)
        folder.mkdir()
        source, output = makers[layout](random.Random(number), folder), folder / "out"
        arguments = ["--settings", settings, "--source", source]
        arguments += ["--output", output / "x.h5", "--report", output / "x.json"]
        monkeypatch.setattr(sys, "argv", ["build_features.py", *map(str, arguments)])
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            try:
                command.run(build_features.main)
                outcomes.add("read")
            except SystemExit:
                outcomes.add("refused")
                assert errors.getvalue().startswith("error: "), (number, errors.getvalue())
                assert errors.getvalue().count("\n") == 1, (number, errors.getvalue())
                assert not output.exists() or not list(output.iterdir()), number
        shutil.rmtree(folder)
    assert "refused" in outcomes
