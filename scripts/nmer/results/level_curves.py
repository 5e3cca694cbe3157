"""Curves of scores over noise levels, and their summaries AUILC and effective robustness (SPEC 15)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from nmer.metrics import METRICS
from nmer.names import ALL_NOISY, AVERAGE, CLEAN, MIXED, plain_number
from nmer.report_settings import ReportSettings
from nmer.results.chance import CELL, with_chance, with_marks
from nmer.results.labels import noise_label, system_label
from nmer.results.noise_levels import level_of, severity_of, with_rates
from nmer.results.printed import Cell, Grid, PrintedTable
from nmer.results.scores import TRAINED_AT, average, of_regime
from nmer.results.wording import ABSENT, AT_CHANCE, dataset_title, decibels, level_title, signed

OWN = "own"
"""Trained at the level at which it is tested."""

SHOWN = {"incomplete": AVERAGE, "all_noisy": ALL_NOISY}
"""Regime -> the condition whose scores are used."""

POINT_COLUMNS = (
    *("dataset", "regime", "system", TRAINED_AT, "noise", "axis", "level", "metric", "mean", "std", "n"),
    *("trainings", "at_chance", "chance"),
)
CURVE = ("dataset", "regime", "system", TRAINED_AT, "noise", "axis", "metric")
CURVE_COLUMNS = (
    *CURVE,
    "levels",
    "mildest",
    "hardest",
    "auilc",
    "reference",
    "effective_robustness",
    "levels_at_chance",
)
SNR_AXIS, RATE_AXIS = "SNR in dB", "rate"

ONE_LEVEL_NOTE = f"{ABSENT}: not defined, because every curve has only one level."
RANGE_NOTE = (
    "Numbers of a curve that has other levels than the longest one of its grid are not comparable with the others; the "
    "levels are next to its AUILC."
)


CHANCE_NOTE = f"{AT_CHANCE} k/n: at k of the n levels of the curve, at least one training is at chance."


def curve_points(scores: pd.DataFrame, settings: ReportSettings, trainings: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the score of every training at every level, columns POINT_COLUMNS, without noise kinds that have no level.

    scores: all collected ones. trainings: all verdicts of ``nmer.results.chance``, for the columns trainings, at_chance
    and chance, which are empty without them. level: SNR in dB, or rate. trained_at: name of a level, ``mixed``,
    ``clean``, or OWN.
    Curves are in the order of the settings, levels from the mildest.
    """
    with_column = scores if TRAINED_AT in scores else scores.assign(**{TRAINED_AT: ""})
    parts = []
    for regime, condition in SHOWN.items():
        if not (scores["regime"] == regime).any():
            continue
        of_view = of_regime(with_column, regime)
        for trained_at, part in of_view.groupby(TRAINED_AT, sort=False):
            cells = average(part.drop(columns=TRAINED_AT))
            here = cells[(cells["condition"] == condition) & cells["metric"].isin(settings.metrics)]
            parts.append(here.assign(**{TRAINED_AT: trained_at, "shown_in": regime}))
    if not parts:
        return pd.DataFrame(columns=list(POINT_COLUMNS))
    judged = trainings if trainings is None or TRAINED_AT in trainings else trainings.assign(**{TRAINED_AT: ""})
    points = with_marks(pd.concat(parts, ignore_index=True), judged, (*CELL, TRAINED_AT))
    points = with_chance(points, trainings)
    own = np.where(points["regime"] == CLEAN, CLEAN, OWN)
    points = points.assign(
        **{TRAINED_AT: points[TRAINED_AT].where(points[TRAINED_AT] != "", own), "regime": points["shown_in"]}
    )
    points = points[points["system"].isin(settings.multimodal_systems)]
    points = with_rates(points, settings)
    points = points.assign(level=level_of(points), axis=np.where(points["rate"].notna(), RATE_AXIS, SNR_AXIS))
    points = points[points["level"].notna()]
    order = {
        "dataset": list(settings.datasets),
        "regime": list(SHOWN),
        "system": settings.multimodal_systems,
        "metric": list(settings.metrics),
    }
    keys = pd.DataFrame({column: points[column].map(values.index) for column, values in order.items()})
    ranked = points.assign(**{f"_{column}": keys[column] for column in keys}, _severity=severity_of(points))
    by = ["_dataset", "_regime", "_system", TRAINED_AT, "noise", "_metric", "_severity"]
    return ranked.sort_values(by, kind="stable", ignore_index=True)[list(POINT_COLUMNS)]


def area(levels: np.ndarray, values: np.ndarray) -> float:
    """Return AUILC, the area under a curve divided by the range of its levels, by the trapezoidal rule.

    levels, values: (n,), levels ascending or descending. NaN with fewer than two levels. Source: SPEC 15.
    """
    if len(levels) < 2:
        return float("nan")
    return float(np.trapezoid(values, levels) / (levels[-1] - levels[0])) + 0.0  # no -0.0 of a descending axis


def effective_robustness(values: np.ndarray, reference: np.ndarray) -> float:
    """Return the sum over common levels, mildest first, of f - (lf + (f[0] - lf[0])): how much less a curve f loses.

    values, reference: (n,) scores where higher is better. NaN with fewer than two levels. Source: SPEC 15.
    """
    if len(values) < 2:
        return float("nan")
    return float(np.sum(values - (reference + (values[0] - reference[0]))))


def curve_table(points: pd.DataFrame, settings: ReportSettings) -> pd.DataFrame:
    """Return one row per curve, columns CURVE_COLUMNS. points: as returned by :func:`curve_points`.

    Column reference: the training level of the reference system's curve; empty if it has no curve of this noise kind,
    or several and none with the same training level.
    """
    curves = dict(_groups(points))
    rows = []
    for key, part in curves.items():
        levels, values = part["level"].to_numpy(float), _signed(part)
        other = _reference(curves, key, settings)
        against, robustness = "", float("nan")
        if other is not None:
            against = other[TRAINED_AT].iloc[0]
            common = sorted(set(levels) & set(other["level"]), key=list(levels).index)
            by_level = (dict(zip(each["level"], _signed(each), strict=True)) for each in (part, other))
            own, reference = (np.array([scores[level] for level in common]) for scores in by_level)
            robustness = effective_robustness(own, reference)
        at_chance = pd.NA if part["at_chance"].isna().all() else int((part["at_chance"].fillna(0) > 0).sum())
        summary = (len(levels), levels[0], levels[-1], area(levels, values), against, robustness, at_chance)
        rows.append((*key, *summary))
    return pd.DataFrame(rows, columns=list(CURVE_COLUMNS)).astype({"levels_at_chance": "Int64"})


def arrange_curves(table: pd.DataFrame, settings: ReportSettings) -> PrintedTable:
    """Lay out the printed table: a grid per dataset, regime and noise kind; systems and training levels in rows."""
    grids, marked = [], False
    groups: Any = table.groupby(["dataset", "regime", "noise"], sort=False)
    for (dataset, regime, noise), part in groups:
        longest = part.loc[part["levels"].idxmax()]
        if longest["levels"] < 2 <= table["levels"].max():  # at one level, neither number is defined
            continue
        rows = []
        for (system, trained_at), cells in part.groupby(["system", TRAINED_AT], sort=False):
            by_metric = {row.metric: row for row in cells.itertuples()}
            mark = _range_mark(cells.iloc[0], longest)
            marked |= bool(mark)
            texts = [cell for metric in settings.metrics for cell in _cells(by_metric.get(metric), mark)]
            rows.append(((system_label(system), trained_title(trained_at)), tuple(texts)))
        view = ", all noisy" if regime == "all_noisy" else ""
        title = f"{dataset_title(dataset, settings.dataset(dataset))}, {noise_label(noise)}{view}"
        header = (
            tuple((metric, 2) for metric in settings.metrics),
            tuple((text, 1) for _metric in settings.metrics for text in ("AUILC", "effective robustness")),
        )
        grids.append(Grid(title, ("System", "Trained at"), header, tuple(rows)))
    reference = system_label(settings.reference_system)
    note = (
        "AUILC: area under the curve of scores over levels, divided by the range of the levels. Effective robustness: "
        f"how much less a curve loses than that of {reference}, measured from the mildest level and summed over the "
        "levels that both have. Metrics where lower is better are negated."
    )
    note += f" {ONE_LEVEL_NOTE}" if table["levels"].max() < 2 else ""
    note += f" {RANGE_NOTE}" if marked else ""
    note += f" {CHANCE_NOTE}" if (table["levels_at_chance"].fillna(0) > 0).any() else ""
    return PrintedTable("levels", "Summaries of the curves over noise levels.", note, tuple(grids))


def trained_title(trained_at: str) -> str:
    """Return the printed name of a training level."""
    titles = {OWN: "each level", MIXED: "mixed levels", CLEAN: "clean data"}
    if trained_at in titles:
        return titles[trained_at]
    kind, separator, level = trained_at.removesuffix("dB").rpartition("_")
    return level_title(kind, float(level)) if trained_at.endswith("dB") and separator else level_title(trained_at, None)


def _groups(points: pd.DataFrame) -> list[tuple[tuple[Any, ...], pd.DataFrame]]:
    groups: Any = points.groupby(list(CURVE), sort=False)
    return [(tuple(key), part) for key, part in groups]


def _reference(
    curves: dict[tuple[Any, ...], pd.DataFrame], key: tuple[Any, ...], settings: ReportSettings
) -> pd.DataFrame | None:
    """Return the curve of the reference system with the same training level, or its only one."""
    about = dict(zip(CURVE, key, strict=True)) | {"system": settings.reference_system}
    same = curves.get(tuple(about.values()))
    if same is not None:
        return same
    others = [
        part
        for other, part in curves.items()
        if all(value == about[name] for name, value in zip(CURVE, other, strict=True) if name != TRAINED_AT)
    ]
    return others[0] if len(others) == 1 else None


def _signed(part: pd.DataFrame) -> np.ndarray:
    values = part["mean"].to_numpy(float)
    return values if METRICS[part["metric"].iloc[0]].higher_is_better else -values


def _range_mark(curve: pd.Series, longest: pd.Series) -> str:
    """Return the levels of a curve as printed if they are not those of the longest one of its grid; else empty."""
    covers = ["levels", "mildest", "hardest"]
    if curve[covers].tolist() == longest[covers].tolist():
        return ""
    ends = [plain_number(float(curve[end])) for end in ("mildest", "hardest")]
    texts = [f"rate {end}" if curve["axis"] == RATE_AXIS else decibels(end) for end in ends]
    return f"{curve['levels']} levels, {texts[0]} to {texts[1]}" if curve["levels"] > 1 else f"only {texts[0]}"


def _cells(row: Any, mark: str) -> tuple[Cell, Cell]:
    if row is None:
        return Cell(), Cell()
    robustness = row.effective_robustness
    if not pd.isna(row.levels_at_chance) and row.levels_at_chance > 0:
        mark = ", ".join(filter(None, (f"{AT_CHANCE} {row.levels_at_chance}/{row.levels}", mark)))
    return (
        Cell(ABSENT if pd.isna(row.auilc) else f"{row.auilc:.4f}".replace("-", "−"), mark=mark),
        Cell(ABSENT if pd.isna(robustness) else signed(robustness)),
    )
