"""Contributions with chosen values and variances: one repeat of deterministic systems."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nmer.results.contrasts import Contrasts
from nmer.results.contributions import Contributions, DatasetContributions, Design

UNITS = 400


def make_contrasts(cells: pd.DataFrame, units: np.ndarray | None = None, spread: float = 1e-9, seed=0) -> Contrasts:
    """Return the contrasts of cells with the columns COLUMNS.

    units: (cells, units) contribution of each unit; the variance of a score is that of their sum. By default the
    contributions are random and independent, and a score has the standard error ``spread``.
    """
    if units is None:
        units = np.random.default_rng(seed).normal(0, 1, (len(cells), UNITS))
        units -= units.mean(axis=1, keepdims=True)
        units *= spread / np.sqrt(UNITS / (UNITS - 1) * (units**2).sum(axis=1, keepdims=True))
    cells = cells.reset_index(drop=True).assign(repeats=1, varies=False)
    cells["position"] = cells.groupby("dataset").cumcount()
    count = np.arange(units.shape[1])
    design = Design(1, units.shape[1], 0, np.zeros_like(count), count)
    datasets = {
        dataset: DatasetContributions(design, rows[["value"]].to_numpy(float), units[rows.index][:, None])
        for dataset, rows in cells.groupby("dataset")
    }
    return Contrasts(Contributions(cells, datasets))
