"""Compute intervals, paired comparisons, ranks and confusion counts of an experiment.

Every comparison is between the experiment's reference system and another one at the same dataset, noise and level, on
the same utterances. Variances are estimated in ``nmer.results.contrasts``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_effectsize

from nmer.metrics import METRICS, confusion_matrix
from nmer.names import ALL_NOISY, AVERAGE, REFERENCE_SYSTEM, SCORE
from nmer.references.registry import CONSTANT
from nmer.results.chance import with_marks
from nmer.results.contrasts import CONFIDENCE, NO_VARIATION, SAME, Contrast, Contrasts
from nmer.results.contributions import COLUMNS
from nmer.results.design import unit_text
from nmer.results.predictions import RUN, Run
from nmer.results.reading import rows_of
from nmer.results.scores import defined_mean, incomplete, of_regime
from nmer.snr_column import with_snr

COMPARED = {AVERAGE: "incomplete", ALL_NOISY: "all_noisy"}
"""Conditions on which systems are compared, and the regime of their models: Tables 2 and 5."""

FEWEST_BLOCKS = 6
"""With fewer blocks, neither Friedman's nor Nemenyi's test is run."""

INTERVAL_COLUMNS = (*COLUMNS, "low", "high")
COMPARISON_COLUMNS = (
    *("dataset", "noise", "snr_db", "condition", "metric", "reference", "system"),
    *("difference", "low", "high", "p_value", "p_adjusted", "effect"),
    *("trainings", "at_chance", "reference_trainings", "reference_at_chance"),
    *("units", "untested"),
)
RANK_COLUMNS = ("metric", "system", "rank", "blocks", "friedman_p", "critical_difference")
CONFUSION_COLUMNS = (*RUN, "condition", "label", "predicted", "count")


def intervals(contrasts: Contrasts) -> pd.DataFrame:
    """Compute 95 % intervals of every cell, missing if the design supports none. Columns INTERVAL_COLUMNS."""
    ends = [contrasts.of({row: 1.0}).interval() for row in contrasts.cells.index]
    bounds = [(METRICS[name].lowest, METRICS[name].highest) for name in contrasts.cells["metric"]]
    lowest, highest = np.array(bounds, np.float64).reshape(-1, 2).T[..., None]
    low, high = np.array(ends, np.float64).reshape(-1, 2).clip(lowest, highest).T
    return contrasts.cells.assign(low=low, high=high)[list(INTERVAL_COLUMNS)]


def comparisons(
    contrasts: Contrasts,
    systems: list[str],
    trainings: pd.DataFrame | None = None,
    reference: str = REFERENCE_SYSTEM,
) -> pd.DataFrame:
    """Compute the reference system minus each other system in cells that both have. Columns COMPARISON_COLUMNS.

    low, high, p_value: of the difference on the same utterances, missing if the design supports no test, or if both are
    one training under two names; ``untested`` then gives the reason. p_adjusted: by Holm's method within a dataset,
    condition and metric, over all systems, noise kinds and levels. effect: Cohen's h of the two scores as proportions,
    missing for other metrics. units: units of the variance. at_chance, reference_at_chance: numbers of trainings of the
    system and of the reference that are at chance in the cell, from ``trainings`` (verdicts of
    ``nmer.results.chance``); missing without them.
    """
    rows = []
    cells = contrasts.cells.assign(row=contrasts.cells.index)
    for condition, regime in COMPARED.items():
        chosen = with_marks(of_regime(cells, regime), trainings)
        chosen = chosen[(chosen["condition"] == condition) & chosen["system"].isin(systems)]
        for place, part in chosen.groupby(["dataset", "noise", "snr_db", "metric"], dropna=False, sort=False):
            by_system = {row.system: row for row in rows_of(part)}
            against = by_system.pop(reference, None)
            if against is None:
                continue
            dataset, noise, snr_db, metric = place
            for system in (name for name in systems if name in by_system):
                other = by_system[system]
                rows.append(
                    {"dataset": dataset, "noise": noise, "snr_db": snr_db, "condition": condition}
                    | {"metric": metric, "reference": reference, "system": system}
                    | _difference(against, other, contrasts)
                    | {"trainings": other.trainings, "at_chance": other.at_chance}
                    | {"reference_trainings": against.trainings, "reference_at_chance": against.at_chance}
                    | {"units": unit_text(contrasts.design(str(dataset)))}
                )
    table = pd.DataFrame(rows, columns=[name for name in COMPARISON_COLUMNS if name != "p_adjusted"])
    families = table.groupby(["dataset", "condition", "metric"], sort=False)["p_value"]
    adjusted: pd.Series | list[float] = families.transform(holm) if len(table) else []
    counts = ("trainings", "at_chance", "reference_trainings", "reference_at_chance")
    typed = table.assign(p_adjusted=adjusted).astype(dict.fromkeys(counts, "Int64"))
    return with_snr(typed)[list(COMPARISON_COLUMNS)]


def holm(p_values: pd.Series) -> pd.Series:
    """Correct the p values that are not missing by Holm's method."""
    adjusted = p_values.astype(np.float64).copy()
    tested = adjusted.notna()
    if tested.any():
        adjusted[tested] = multipletests(adjusted[tested], method="holm")[1]
    return adjusted


def ranks(scores: pd.DataFrame, systems: list[str]) -> pd.DataFrame:
    """Compute the average rank of each system, 1 = best, and Nemenyi's critical difference. Columns RANK_COLUMNS.

    A block is a dataset and fold. A system's value in a block is its mean over noise kinds, levels, incomplete
    conditions and repeats; levels of a fold share utterances, so they are not separate blocks. Noise kinds and levels
    that a system lacks are left out, then blocks. With fewer than three systems the result is empty. With fewer than
    FEWEST_BLOCKS there is no test, and ``friedman_p`` and ``critical_difference`` are missing. Constant predictions
    have no rank. scores: tidy scores of the experiment. Source: Demsar 2006, sections 3.2.2 and 3.2.3.
    """
    of_six = of_regime(scores, "incomplete")
    ranked = [system for system in systems if system not in CONSTANT]
    of_six = of_six[incomplete(of_six) & of_six["system"].isin(ranked)]
    rows = []
    for name in METRICS:
        own = of_six[of_six["metric"] == name]
        if own.empty:
            continue
        groups = own.groupby(["dataset", "fold", "noise", "snr_db", "system"], dropna=False)["value"]
        places = defined_mean(groups).unstack("system")
        # Values equal up to rounding are ties.
        blocks = places.dropna().groupby(["dataset", "fold"]).mean().round(9)
        count, k = blocks.shape
        if not count or k < 3:
            continue
        worst_first = blocks.to_numpy() if METRICS[name].higher_is_better else -blocks.to_numpy()
        average = stats.rankdata(-worst_first, axis=1).mean(axis=0)
        p_value = critical = np.nan
        if count >= FEWEST_BLOCKS:
            p_value = stats.friedmanchisquare(*blocks.to_numpy().T).pvalue
            quantile = stats.studentized_range.ppf(CONFIDENCE, k, np.inf) / np.sqrt(2)
            critical = quantile * np.sqrt(k * (k + 1) / (6 * count))
        rows += [
            (name, system, rank, count, p_value, critical)
            for system, rank in sorted(zip(blocks.columns, average, strict=True), key=lambda pair: pair[1])
        ]
    return pd.DataFrame(rows, columns=list(RANK_COLUMNS))


def confusion(runs: Iterable[Run]) -> pd.DataFrame:
    """Count predictions by true and predicted class, summed over folds and repeats. Columns CONFUSION_COLUMNS.

    Runs that predict scores are left out."""
    rows = []
    for run in (run for run in runs if run.target != SCORE):
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
    return with_snr(pd.DataFrame(rows, columns=list(CONFUSION_COLUMNS)))


def _difference(reference: Any, other: Any, contrasts: Contrasts) -> dict[str, float | str]:
    """Return the numbers of one comparison. reference, other: rows of the cells."""
    contrast = contrasts.of({reference.row: 1.0, other.row: -1.0})
    if contrast.untested in ("", NO_VARIATION) and contrasts.are_same(reference.row, other.row):
        contrast = Contrast(0.0, untested=SAME)
    metric = METRICS[reference.metric]
    largest = metric.highest - metric.lowest
    low, high = np.clip(contrast.interval(), -largest, largest)
    return {
        "difference": contrast.value,
        "low": low,
        "high": high,
        "p_value": contrast.p_value(),
        "effect": proportion_effectsize(reference.value, other.value) if metric.is_fraction else np.nan,
        "untested": contrast.untested,
    }
