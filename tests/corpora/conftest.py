"""Tiny generated corpora, and the step that reads them."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from pathlib import Path

import build_features
import pytest
from tiny_corpora import TINY, demo_settings
from written_corpora import Arrays, make_arrays

from nmer import command
from nmer.corpora.demo import MOSEI_FILE, write_demo


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> dict[str, Path]:
    """Layout -> its tiny corpus, read-only."""
    root = tmp_path_factory.mktemp("corpora")
    for layout in TINY:
        write_demo(root / layout, demo_settings(layout))
    return {"iemocap_mmin": root / "iemocap_mmin", "mosei_pickle": root / "mosei_pickle" / MOSEI_FILE}


@pytest.fixture
def iemocap(tiny, tmp_path) -> Path:
    """A copy of the tiny IEMOCAP, to be modified."""
    return Path(shutil.copytree(tiny["iemocap_mmin"], tmp_path / "iemocap"))


@pytest.fixture
def mosei(tiny) -> dict:
    """The content of the tiny MOSEI pickle, to be modified."""
    return pickle.loads(tiny["mosei_pickle"].read_bytes())


@pytest.fixture
def arrays() -> Arrays:
    """A corpus for the generic layouts, to be modified."""
    return make_arrays()


class Step:
    """Runs ``build_features.py`` like the workflow and stores its output."""

    def __init__(self, folder: Path, monkeypatch, capsys) -> None:
        self.output, self.report_file = folder / "features" / "x.h5", folder / "features" / "x.json"
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def build(self, source: Path, layout: str, **settings: object) -> dict:
        """Run and return the report."""
        encoded = json.dumps({"dataset": "tiny", "layout": layout, "synthetic": True, **settings})
        arguments = ["--settings", encoded, "--source", source, "--output", self.output, "--report", self.report_file]
        self._monkeypatch.setattr(sys, "argv", ["build_features.py", *map(str, arguments)])
        command.run(build_features.main)
        return json.loads(self.report_file.read_text())

    def refuse(self, source: Path, layout: str, **settings: object) -> str:
        """Run; expect one message, exit status 1 and no output files; return the message."""
        with pytest.raises(SystemExit) as ending:
            self.build(source, layout, **settings)
        captured = self._capsys.readouterr()
        assert ending.value.code == 1
        assert captured.out == ""
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1
        assert not self.output.parent.exists() or list(self.output.parent.iterdir()) == []
        return captured.err


@pytest.fixture
def step(tmp_path, monkeypatch, capsys) -> Step:
    return Step(tmp_path, monkeypatch, capsys)
