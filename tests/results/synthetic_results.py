"""Helpers of these tests that are no fixtures: random scores, and a step's command line run in this process."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
CONDITIONS = ("a", "v", "l", "av", "al", "vl")


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


def run_step(script: str, *arguments: str | Path) -> None:
    """Run a step script's command line in this process, which has its libraries loaded already."""
    path = str(ROOT / "scripts" / script)
    with mock.patch.object(sys, "argv", [path, *map(str, arguments)]):
        runpy.run_path(path, run_name="__main__")
