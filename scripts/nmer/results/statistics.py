"""Intervals, paired comparisons, ranks and confusion counts of an experiment (scipy and statsmodels do the arithmetic).

Every comparison is of NMER with another system of the same dataset, noise and level, on the same resampled folds and
utterances. Not for resampling itself: that is ``nmer.results.replicates``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_effectsize

from nmer.metrics import confusion_matrix, of_target
from nmer.names import ALL_NOISY, AVERAGE, SIX_CONDITIONS
from nmer.results.chance import with_marks
from nmer.results.predictions import RUN, Run
from nmer.results.reading import rows_of
from nmer.results.replicates import COLUMNS
from nmer.results.scores import of_regime

REFERENCE_SYSTEM = "nmer"
CONFIDENCE = 0.95
COMPARED = {AVERAGE: "six", ALL_NOISY: "all"}
"""What systems are compared on, and the regime whose models count there: Tables 2 and 5."""

INTERVAL_COLUMNS = (*COLUMNS, "low", "high")
COMPARISON_COLUMNS = (
    *("dataset", "noise", "snr_db", "condition", "metric", "system"),
    *("difference", "low", "high", "p_value", "p_adjusted", "effect"),
    *("trainings", "at_chance", "nmer_trainings", "nmer_at_chance"),
)
RANK_COLUMNS = ("metric", "system", "rank", "blocks", "friedman_p", "critical_difference")
CONFUSION_COLUMNS = (*RUN, "condition", "label", "predicted", "count")


def intervals(cells: pd.DataFrame, replicates: np.ndarray) -> pd.DataFrame:
    """Percentile intervals of every cell. Columns INTERVAL_COLUMNS.

    cells, replicates: as of :func:`nmer.results.replicates.resample`.
    """
    low, high = _percentiles(replicates)
    return cells.assign(low=low, high=high)[list(INTERVAL_COLUMNS)]


def comparisons(
    cells: pd.DataFrame, replicates: np.ndarray, systems: list[str], trainings: pd.DataFrame | None = None
) -> pd.DataFrame:
    """NMER minus each other system, wherever both were run. Columns COMPARISON_COLUMNS.

    low, high: percentiles of the paired differences. p_value: two-sided, of the difference divided by the standard
    deviation of its replicates, against a normal distribution. p_adjusted: by Holm's method within a dataset, condition
    and metric, over all systems, noise kinds and levels. effect: Cohen's h of the two scores taken as proportions.
    at_chance, nmer_at_chance: how many of the system's and of NMER's trainings are at chance there, from ``trainings``
    (verdicts of ``nmer.results.chance``); missing without them.
    """
    rows = []
    for condition, regime in COMPARED.items():
        chosen = with_marks(of_regime(cells.assign(row=range(len(cells))), regime), trainings)
        chosen = chosen[(chosen["condition"] == condition) & chosen["system"].isin(systems)]
        for place, part in chosen.groupby(["dataset", "noise", "snr_db", "metric"], dropna=False, sort=False):
            by_system = {row.system: row for row in rows_of(part)}
            reference = by_system.pop(REFERENCE_SYSTEM, None)
            if reference is None:
                continue
            dataset, noise, snr_db, metric = place
            for system in (name for name in systems if name in by_system):
                other = by_system[system]
                rows.append(
                    {"dataset": dataset, "noise": noise, "snr_db": snr_db, "condition": condition}
                    | {"metric": metric, "system": system}
                    | _difference(reference, other, replicates)
                    | {"trainings": other.trainings, "at_chance": other.at_chance}
                    | {"nmer_trainings": reference.trainings, "nmer_at_chance": reference.at_chance}
                )
    table = pd.DataFrame(rows, columns=[name for name in COMPARISON_COLUMNS if name != "p_adjusted"])
    families = table.groupby(["dataset", "condition", "metric"], sort=False)["p_value"]
    adjusted: pd.Series | list[float] = (
        families.transform(lambda p: multipletests(p, method="holm")[1]) if len(table) else []
    )
    counts = ("snr_db", "trainings", "at_chance", "nmer_trainings", "nmer_at_chance")
    return table.assign(p_adjusted=adjusted).astype(dict.fromkeys(counts, "Int64"))[list(COMPARISON_COLUMNS)]


def ranks(scores: pd.DataFrame, systems: list[str]) -> pd.DataFrame:
    """Average rank of each system, 1 = best, and the critical difference of Nemenyi's test. Columns RANK_COLUMNS.

    A block is a dataset, noise kind, level and fold; in it each system has its mean over the six conditions and the
    repeats. Blocks in which a system is missing are left out, and so is a table of fewer than three systems or two
    blocks. Blocks of one fold at several levels share their utterances, so that the test is somewhat too bold.
    scores: tidy scores of the experiment. Source: Demsar 2006, sections 3.2.2 and 3.2.3.
    """
    of_six = of_regime(scores, "six")
    of_six = of_six[of_six["condition"].isin(SIX_CONDITIONS) & of_six["system"].isin(systems)]
    rows = []
    for metric in of_target():
        blocks = of_six[of_six["metric"] == metric].pivot_table(
            index=["dataset", "noise", "snr_db", "fold"], columns="system", values="value", dropna=False
        )
        # Equal but for rounding is equal: a tie.
        blocks = blocks.dropna().round(9)
        count, k = blocks.shape
        if count < 2 or k < 3:
            continue
        average = stats.rankdata(-blocks.to_numpy(), axis=1).mean(axis=0)
        p_value = stats.friedmanchisquare(*blocks.to_numpy().T).pvalue
        quantile = stats.studentized_range.ppf(CONFIDENCE, k, np.inf) / np.sqrt(2)
        critical = quantile * np.sqrt(k * (k + 1) / (6 * count))
        rows += [
            (metric, system, rank, count, p_value, critical)
            for system, rank in sorted(zip(blocks.columns, average, strict=True), key=lambda pair: pair[1])
        ]
    return pd.DataFrame(rows, columns=list(RANK_COLUMNS))


def confusion(runs: Iterable[Run]) -> pd.DataFrame:
    """How often each class was taken for each, summed over folds and repeats. Columns CONFUSION_COLUMNS."""
    rows = []
    for run in runs:
        for position, condition in enumerate(run.conditions):
            matrix = np.zeros((len(run.classes), len(run.classes)), np.int64)
            for fold in run.folds.values():
                for predicted in fold.predicted[:, position]:
                    tested = predicted >= 0
                    matrix += confusion_matrix(fold.labels[tested], predicted[tested], len(run.classes))
            rows += [
                (*run.key, condition, label, predicted, matrix[i, j])
                for i, label in enumerate(run.classes)
                for j, predicted in enumerate(run.classes)
            ]
    return pd.DataFrame(rows, columns=list(CONFUSION_COLUMNS)).astype({"snr_db": "Int64"})


def _difference(reference: Any, other: Any, replicates: np.ndarray) -> dict[str, float]:
    """The figures of one comparison; reference and other are rows of the cells."""
    drawn = replicates[reference.row].astype(np.float64) - replicates[other.row]
    difference, spread = reference.value - other.value, drawn.std(ddof=1)
    low, high = _percentiles(drawn[None])
    certain = 0.0 if difference else 1.0
    return {
        "difference": difference,
        "low": low[0],
        "high": high[0],
        "p_value": 2 * stats.norm.sf(abs(difference) / spread) if spread else certain,
        "effect": proportion_effectsize(reference.value, other.value),
    }


def _percentiles(replicates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    tail = 50 * (1 - CONFIDENCE)
    return tuple(np.percentile(replicates, (tail, 100 - tail), axis=1))
