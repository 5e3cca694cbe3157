"""Confusion matrices, normalised by true class, and recall per class. Not for drawing."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from nmer.report_settings import ReportSettings
from nmer.results.noise_levels import severity_of, with_rates
from nmer.results.reading import SNR, read_columns
from nmer.results.scores import incomplete, of_regime
from nmer.results.selection import corruptions, of_dataset, outermost, select

CONFUSION_COLUMNS = ("dataset", "noise", "snr_db", "system", "label", "predicted", "share")
RECALL_COLUMNS = ("dataset", "noise", "snr_db", "rate", "system", "label", "recall")

_COUNTS = {
    **dict.fromkeys(("dataset", "system", "regime", "noise"), "str"),
    "snr_db": SNR,
    **dict.fromkeys(("condition", "label", "predicted"), "str"),
    "count": "Int64",
}
_RUN = ["dataset", "noise", "snr_db", "system"]


def read_counts(path: str | Path) -> pd.DataFrame:
    """Read confusion counts summed over folds and repeats. Raises DataError if the file holds no counts."""
    return read_columns(path, _COUNTS)


def confusion_matrices(counts: pd.DataFrame, settings: ReportSettings, dataset: str) -> pd.DataFrame:
    """Compute confusion matrices of one dataset under the reference noise at its mildest and hardest level.

    counts: as returned by :func:`read_counts`; classes keep their order. Returns the columns CONFUSION_COLUMNS. share:
    the fraction of utterances of class ``label`` predicted as ``predicted``, averaged over incomplete conditions with
    equal weights, as in Table 2. A class without utterances under a condition has no share there. Raises ConfigError
    for an unknown dataset.
    """
    shares = _shares(counts, settings, dataset)
    classes = list(dict.fromkeys(shares["label"]))
    order = {
        "corruption": outermost(settings),
        "system": settings.multimodal_systems,
        "label": classes,
        "predicted": classes,
    }
    return select(shares, order)[list(CONFUSION_COLUMNS)]


def recall(counts: pd.DataFrame, settings: ReportSettings, dataset: str) -> pd.DataFrame:
    """Compute the recall of every class of one dataset at every level, columns RECALL_COLUMNS.

    counts: as returned by :func:`read_counts`. A rate has the name of its kind. Kinds without a level have no place on
    an axis and are left out.
    Raises ConfigError for an unknown dataset.
    """
    shares = _shares(counts, settings, dataset)
    hits = shares[shares["label"] == shares["predicted"]].rename(columns={"share": "recall"})
    levels = with_rates(select(hits, {"corruption": corruptions(settings)}), settings)
    levels = levels.assign(severity=severity_of(levels)).dropna(subset="severity")
    order = {
        "noise": list(dict.fromkeys(levels["noise"])),
        "label": list(dict.fromkeys(shares["label"])),
        "system": settings.multimodal_systems,
        "severity": sorted(set(levels["severity"])),
    }
    return select(levels, order)[list(RECALL_COLUMNS)]


def _shares(counts: pd.DataFrame, settings: ReportSettings, dataset: str) -> pd.DataFrame:
    own = of_regime(of_dataset(counts, settings, dataset), "incomplete")
    own = own[incomplete(own)]
    classes = list(dict.fromkeys([*own["label"], *own["predicted"]]))
    rows = own.groupby([*_RUN, "condition", "label", "predicted"], dropna=False, sort=False)["count"].sum()
    matrix = rows.unstack(fill_value=0).reindex(columns=classes, fill_value=0).astype("float64")
    totals = matrix.sum(axis=1)
    shares = matrix[totals > 0].div(totals[totals > 0], axis=0)
    means = shares.groupby([*_RUN, "label"], dropna=False, sort=False).mean()
    return means.reset_index().melt([*_RUN, "label"], var_name="predicted", value_name="share")
