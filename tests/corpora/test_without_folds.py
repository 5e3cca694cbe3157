"""Noise needs no folds: ``add_noise.py`` reads every layout without the files and columns of folds and speakers."""

from __future__ import annotations

import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import add_noise
import h5py
import numpy as np
import pytest
from test_csd import DIMS, LISTS, contents, write
from written_corpora import WRITERS

from nmer import command
from nmer.corpora.corpus import CorpusSettings
from nmer.corpora.store import FeatureStore
from nmer.errors import ConfigError, DataError


@pytest.fixture
def corrupt(tmp_path, monkeypatch) -> Callable[..., dict[str, np.ndarray]]:
    """Return a function that runs the command on a corpus and returns utterance -> noisy frames of modality a."""

    def run(source: Path, layout: str, *additional: str) -> dict[str, np.ndarray]:
        output = tmp_path / "noisy.h5"
        arguments = ["--input", source, "--layout", layout, "--snr-db", "-10", "--output", output, *additional]
        monkeypatch.setattr(sys, "argv", ["add_noise.py", *map(str, arguments)])
        command.run(add_noise.main)
        with h5py.File(output) as file:
            parts = np.split(file["a/values"][()], file["a/offset"][1:-1])
            return dict(zip(file["utterance/id"].asstr()[()].tolist(), parts, strict=True))

    return run


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for name, frames in expected.items():
        np.testing.assert_array_equal(found[name], frames)


@pytest.mark.parametrize("layout", WRITERS)
@pytest.mark.parametrize("standardised", ["[]", '["a", "v"]'])
def test_a_table_of_ids_and_labels_is_sufficient(tmp_path, arrays, corrupt, layout, standardised):
    additional = ("--layout-settings", f'{{"standardize": {standardised}}}')
    arrays.columns["split"] = ["train"] * 15 + ["val"] * 5 + ["test"] * 10
    expected = corrupt(WRITERS[layout](tmp_path / "whole", arrays), layout, *additional)
    del arrays.columns["split"], arrays.columns["speaker"]
    assert_equal(corrupt(WRITERS[layout](tmp_path / "bare", arrays), layout, *additional), expected)


@pytest.mark.parametrize("protocol", ["leave_one_group_out", "stratified", "given"])
def test_the_protocol_is_ignored(tmp_path, arrays, corrupt, protocol):
    del arrays.columns["speaker"]
    settings = f'{{"options": {{"protocol": "{protocol}"}}}}'
    found = corrupt(WRITERS["ragged_hdf5"](tmp_path / "x.h5", arrays), "ragged_hdf5", "--layout-settings", settings)
    assert len(found) == 30


def test_sessions_of_iemocap_need_no_numbers(iemocap, corrupt):
    expected = corrupt(iemocap, "iemocap_mmin")
    shutil.rmtree(iemocap / "target")
    (iemocap / "labels.csv").write_text("id,label\n" + "".join(f"{name},happy\n" for name in expected))
    assert_equal(corrupt(iemocap, "iemocap_mmin"), expected)
    for path in ("A/comparE.h5", "V/denseface.h5", "L/bert_large.h5"):
        with h5py.File(iemocap / path, "r+") as file:
            file.move(next(iter(expected)), "0 of nobody")
    text = (iemocap / "labels.csv").read_text()
    (iemocap / "labels.csv").write_text(text.replace(next(iter(expected)), "0 of nobody"))
    assert next(iter(corrupt(iemocap, "iemocap_mmin"))) == "0 of nobody"


@pytest.mark.parametrize("splits", [["train"], ["test"], ["train", "valid"]])
def test_a_pickle_with_some_splits_is_sufficient(mosei, tmp_path, corrupt, splits):
    path = tmp_path / "some.pkl"
    path.write_bytes(pickle.dumps({split: mosei[split] for split in splits}))
    found = corrupt(path, "mosei_pickle", "--mode", "exact_abar")
    assert sum(len(mosei[split]["id"]) for split in splits) - len(found) in (0, 1)


def test_a_pickle_without_splits_is_refused(tmp_path, corrupt, capsys):
    path = tmp_path / "none.pkl"
    path.write_bytes(pickle.dumps({"training": {}}))
    with pytest.raises(SystemExit):
        corrupt(path, "mosei_pickle")
    assert "has no split 'train'" in capsys.readouterr().err


def test_sequences_need_no_lists(tmp_path, corrupt):
    streams, additional = contents(), ("--layout-settings", '{"options": {"steps": 5}}')
    expected = corrupt(write(tmp_path / "whole", streams, LISTS), "csd", *additional)
    bare = write(tmp_path / "bare", streams, LISTS)
    shutil.rmtree(bare / "folds")
    found = corrupt(bare, "csd", *additional)
    assert set(found) - set(expected) == {name for name in found if name.startswith("unlisted[")} != set()
    assert set(expected) <= set(found)
    assert {frames.shape[1] for frames in found.values()} == {DIMS["a"]}


def test_a_store_of_the_workflow_needs_folds(tiny, step):
    step.build(tiny["mosei_pickle"], "mosei_pickle")
    with h5py.File(step.output, "r+") as file:
        del file["fold"]
        file.create_group("fold")
    with pytest.raises(DataError, match="incomplete"):
        FeatureStore(step.output)


def test_the_configuration_requires_folds():
    with pytest.raises(ConfigError, match="needs_folds"):
        CorpusSettings.from_mapping({"dataset": "d", "layout": "csd", "needs_folds": False})
