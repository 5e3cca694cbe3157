"""Synthetic scores, settings and stores for the tests of results: small, seeded, made here and nowhere else."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
CONDITIONS = ("a", "v", "l", "av", "al", "vl")
PAPER_SYSTEMS = ["men", "mctn", "mmin", "if_mmin", "nmer", "nmer_no_vae", "nmer_no_inv"]


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of the paper's numbers."""
    return ROOT / "workflow" / "reference"


@pytest.fixture(scope="session")
def paper_settings() -> dict:
    """The tables' settings for the paper's whole protocol."""
    levels = [-10, -20, -30, -40]
    return {
        "datasets": {
            "iemocap": {"paper_name": "IEMOCAP", "synthetic": False, "evaluation": "every_condition"},
            "mosei": {"paper_name": "CMU-MOSEI", "synthetic": False, "evaluation": "one_condition"},
        },
        "systems": list(PAPER_SYSTEMS),
        "snr_db": {"gaussian": levels, "impulse": levels},
        "reference_noise": "gaussian",
    }


@pytest.fixture(scope="session")
def small_settings() -> dict:
    """The tables' settings for three datasets: a real one, a synthetic one, one that the paper does not have."""
    return {
        "datasets": {
            "iemocap": {"paper_name": "IEMOCAP", "synthetic": False},
            "demo_iemocap": {"paper_name": "IEMOCAP", "synthetic": True},
            "mosi": {"paper_name": None, "synthetic": False},
        },
        "systems": ["nmer", "my_system", "men"],
        "snr_db": {"gaussian": [-10, -40], "impulse": [-10]},
        "reference_noise": "gaussian",
    }


def make_scores(settings: dict, folds: int = 2, repeats: int = 3, seed: int = 0) -> pd.DataFrame:
    """Random scores of every run of an experiment; the number of items differs from condition to condition."""
    generator = np.random.default_rng(seed)
    rows = []
    for dataset in settings["datasets"]:
        for system in settings["systems"]:
            for noise, levels in settings["snr_db"].items():
                for snr_db in levels:
                    regimes = {"clean": (*CONDITIONS, "none", "avl")}
                    if system != "men":
                        regimes = {"six": (*CONDITIONS, "none"), "all": ("none",)}
                    for regime, conditions in regimes.items():
                        for condition in conditions:
                            for fold in range(1, folds + 1):
                                for repeat in range(1, repeats + 1):
                                    for metric in ("WA", "UA", "F1"):
                                        run = (dataset, system, regime, noise, snr_db, condition, fold, repeat, metric)
                                        rows.append((*run, generator.random(), int(generator.integers(5, 500))))
    columns = ["dataset", "system", "regime", "noise", "snr_db", "condition", "fold", "repeat", "metric", "value", "n"]
    return pd.DataFrame(rows, columns=columns).astype({"snr_db": "Int64"})


@pytest.fixture(scope="session")
def small_scores(small_settings) -> pd.DataFrame:
    """Scores of every run of ``small_settings``."""
    return make_scores(small_settings)


def run_step(script: str, *arguments: str | Path) -> None:
    """Run a step script's command line in this process, which has its libraries loaded already."""
    path = str(ROOT / "scripts" / script)
    with mock.patch.object(sys, "argv", [path, *map(str, arguments)]):
        runpy.run_path(path, run_name="__main__")
