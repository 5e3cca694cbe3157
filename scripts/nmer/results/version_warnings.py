"""Warn of results trained with several versions of the libraries, because an upgrade reruns no job."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from nmer.names import corruption_name
from nmer.results.reading import rows_of
from nmer.snr_column import snr_of

VERSIONS = "versions"
"""Column of a history with the library versions of each epoch."""


def version_warnings(histories: Iterable[Path]) -> list[str]:
    """Return one sentence if the trainings behind scores used more than one set of versions; otherwise empty.

    histories: see :func:`histories_behind`. Histories that are missing or have no versions are ignored.
    """
    counts: Counter[str] = Counter()
    for history in histories:
        counts.update(_versions(history))
    if len(counts) < 2:
        return []
    parts = "; ".join(f"{count:,} with {versions}" for versions, count in counts.most_common())
    return [
        f"The trainings behind these results used several versions of the libraries: {parts}. This may cause "
        "differences between systems. To use one version, delete the folders runs and teachers and run again."
    ]


def histories_behind(scores: pd.DataFrame, folder: str | Path) -> list[Path]:
    """Return the histories of the runs behind scores, and of the pretrained systems that they started from.

    scores: collected scores. folder: that of the experiment.
    """
    folder = Path(folder)
    runs = scores[["dataset", "system", "regime", "noise", "snr_db", "fold"]].drop_duplicates()
    histories: dict[Path, None] = {}
    for run in rows_of(runs):
        place = folder / "runs" / run.dataset / run.system / run.regime
        if run.regime != "clean":
            place /= corruption_name(run.noise, snr_of(run.snr_db))
        histories[place / f"fold{run.fold}" / "history.csv"] = None
        # A training that is tested at several levels has a separate folder.
        of_run = (folder / "runs" / run.dataset / run.system / run.regime).glob(f"trained_*/fold{run.fold}/history.csv")
        histories |= dict.fromkeys(sorted(of_run))
    for dataset, fold in runs[["dataset", "fold"]].drop_duplicates().itertuples(index=False):
        histories |= dict.fromkeys(sorted((folder / "teachers" / dataset).glob(f"*/fold{fold}/history.csv")))
    return list(histories)


def _versions(history: Path) -> set[str]:
    try:
        with history.open(newline="", encoding="utf-8") as stream:
            return {row[VERSIONS] for row in csv.DictReader(stream) if row.get(VERSIONS)}
    except FileNotFoundError:
        return set()
