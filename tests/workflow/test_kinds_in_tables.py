"""Noise kinds without an SNR, a renamed kind, and fresh training draws, from config to report."""

from __future__ import annotations

import re

import pandas as pd
import pytest
import yaml
from workflow_copy import Workflow

EXPERIMENT = {
    "noise": {"train_draws": "fresh", "kinds": {"lose_few": {"kind": "drop_frames", "share": 0.2}}},
    "experiments": {
        "kinds": {
            "datasets": ["tiny_iemocap"],
            "systems": ["men", "mmin"],
            "noise": ["gaussian", "zero", "lose_few"],
            "snr_db": [-10],
            "repeats": 1,
            "folds": 1,
            "training": {
                "constant_epochs": 1,
                "decay_epochs": 1,
                "pretraining": {"constant_epochs": 1, "decay_epochs": 1},
            },
        }
    },
}


@pytest.mark.slow
def test_kinds_without_an_snr_reach_every_table_and_figure(tmp_path):
    workflow = Workflow(tmp_path / "nmer")
    (workflow.folder / "kinds.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    finished = workflow.snakemake("--configfile", "kinds.yaml", experiment="kinds")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    folder = workflow.folder / "results"
    table = pd.read_csv(folder / "kinds" / "tables" / "table2.csv")
    places = table[["noise", "snr_db"]].drop_duplicates().astype({"snr_db": "Int64"})
    assert {tuple(row) for row in places.astype(object).fillna("none").to_numpy()} == {
        ("gaussian", -10),
        ("zero", "none"),
        ("lose_few", "none"),
    }
    assert table["mean"].between(0, 1).all()
    calibration = pd.read_csv(folder / "calibration" / "tiny_iemocap.csv").set_index("noise")
    levels = ["snr_db", "T", "alpha_bar", "attained_db", "effective_db", "measured_db"]
    assert calibration.loc[["zero", "lose_few"], levels].isna().all(axis=None)
    assert calibration.loc["gaussian", "measured_db"].notna().all()
    header = (folder / "kinds" / "tables" / "table2.md").read_text()
    assert "no SNR zero WA" in header
    assert r"no SNR lose\_few UA" in header
    assert not re.search(r"(zero|lose_few) -?\d+ dB", (folder / "kinds" / "report.html").read_text())
