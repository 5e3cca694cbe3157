"""Helpers for the tests of results: random scores, and running a step in this process."""

from __future__ import annotations

import json
import runpy
import sys
from dataclasses import asdict
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd

from nmer.figures import figures, sources
from nmer.report_settings import DatasetSettings, ReportSettings
from nmer.results.chance import COLUMNS as TRAINING_COLUMNS

ROOT = Path(__file__).resolve().parents[2]
CONDITIONS = ("a", "v", "l", "av", "al", "vl")
COLUMNS = ["dataset", "system", "regime", "noise", "snr_db", "condition", "fold", "repeat", "metric", "value", "n"]


def make_scores(settings: ReportSettings, folds: int = 2, repeats: int = 3, seed: int = 0) -> pd.DataFrame:
    """Return random scores of every multimodal run; the number of items differs between conditions."""
    generator = np.random.default_rng(seed)
    rows = []
    for dataset in settings.datasets:
        for system in settings.systems:
            for noise, levels in settings.snr_db.items():
                for snr_db in levels:
                    regimes = {"clean": (*CONDITIONS, "none", "avl")}
                    if system != "men":
                        regimes = {"incomplete": (*CONDITIONS, "none"), "all_noisy": ("none",)}
                    for regime, conditions in regimes.items():
                        for condition in conditions:
                            for fold in range(1, folds + 1):
                                for repeat in range(1, repeats + 1):
                                    for metric in ("WA", "UA", "F1"):
                                        run = (dataset, system, regime, noise, snr_db, condition, fold, repeat, metric)
                                        rows.append((*run, generator.random(), int(generator.integers(5, 500))))
    return pd.DataFrame(rows, columns=COLUMNS).astype({"snr_db": "Int64"})


def make_unimodal_scores(
    settings: ReportSettings, regime: str = "all_noisy", folds: int = 2, repeats: int = 3
) -> pd.DataFrame:
    """Return random scores of every uni-modal run in a regime, and of the clean reference if the settings have one."""
    generator = np.random.default_rng(1)
    about = settings.unimodal
    places = [(regime, settings.reference_noise, snr_db, "none") for snr_db in about.snr_db]
    places += [("clean", "", None, "avl")] if about.clean_reference else []
    rows = [
        (dataset, system, *place, fold, repeat, metric, generator.random(), 50)
        for dataset in about.datasets
        for system in ("unimodal_a", "unimodal_v", "unimodal_l")
        for place in places
        for fold in range(1, folds + 1)
        for repeat in range(1, repeats + 1)
        for metric in ("WA", "UA", "F1")
    ]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"snr_db": "Int64"})


def make_intervals(scores: pd.DataFrame) -> pd.DataFrame:
    """Return intervals of every cell and average of scores: asymmetric, and some do not contain their value."""
    scores = scores[scores["metric"].isin(["WA", "UA"])]
    six = scores[scores["condition"].isin(CONDITIONS)].assign(condition="average")
    cell = ["dataset", "system", "regime", "noise", "snr_db", "condition", "metric"]
    table = pd.concat([scores, six]).groupby(cell, dropna=False)["value"].mean().reset_index()
    table["low"] = table["value"] - 0.01 * (1 - table.index % 3)
    table["high"] = table["value"] + 0.03
    return table


def run_step(script: str, *arguments: str | Path) -> None:
    """Run a step script with arguments in this process, where its libraries are already loaded."""
    path = str(ROOT / "scripts" / script)
    with mock.patch.object(sys, "argv", [path, *map(str, arguments)]):
        runpy.run_path(path, run_name="__main__")


def draw_figure(name: str, stem: Path, dataset: str = "", settings: ReportSettings | None = None, **files) -> None:
    """Draw a shipped figure from its sources (a file or a list each); by default no training is at chance."""
    declaration = figures.declaration(name)
    read = sources(declaration)
    if "chance" in read and "chance" not in files:
        files["chance"] = stem.parent / "no_chance.csv"
        stem.parent.mkdir(parents=True, exist_ok=True)
        files["chance"].write_text(",".join(TRAINING_COLUMNS) + "\n")
    printed = settings.dataset(dataset) if settings else DatasetSettings()
    about = {"dataset": dataset, "about": asdict(printed)} if dataset else {}
    display = {"settings": settings.to_mapping()} if settings and "settings" in read else {}
    arguments = []
    for source, paths in files.items():
        arguments += ["--source", source, *(paths if isinstance(paths, list) else [paths])]
    request = json.dumps({"figure": name} | about | display)
    run_step("draw_figure.py", "--settings", request, *arguments, "--output-stem", stem)
