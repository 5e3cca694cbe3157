"""Robustness curves: the scores of each system, averaged over incomplete conditions, against the SNR."""

from __future__ import annotations

import itertools
import textwrap
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from nmer.figures import Drawn, figure
from nmer.metrics import METRICS
from nmer.names import AVERAGE, all_clean
from nmer.report_settings import ReportSettings
from nmer.results.chance import read_trainings, with_chance
from nmer.results.curves import draw_bars, draw_chance, draw_clean, draw_curves
from nmer.results.labels import noise_label, rates_by_noise
from nmer.results.noise_levels import ordered_levels, severity_of, with_rates
from nmer.results.reading import SNR, read_columns
from nmer.results.scores import of_regime
from nmer.results.selection import corruptions, select
from nmer.results.style import (
    LETTER,
    SETTINGS,
    WIDTH,
    legend_below,
    legend_height,
    sentence_figure,
    system_styles,
    wrapped,
)
from nmer.results.wording import decibels, short_title

COLUMNS = ("dataset", "noise", "snr_db", "rate", "system", "metric", "value", "low", "high", "chance", "clean")

_INTERVALS = {
    **dict.fromkeys(("dataset", "system", "regime", "noise"), "str"),
    "snr_db": SNR,
    **dict.fromkeys(("condition", "metric"), "str"),
    **dict.fromkeys(("value", "low", "high"), "float64"),
}


@figure(
    "robustness",
    position=1,
    sources=("intervals", "chance", "settings"),
    reads=("metrics",),
    title="Robustness",
    caption=(
        "Each metric, averaged over the incomplete conditions, against the SNR, or the rate of a noise kind that has "
        "rates; bars if there is only one level. Vertical lines: 95 % intervals. Horizontal lines without markers: "
        "dotted, chance, the score of a constant prediction (UA: 1 / classes; WA: the share of the largest class; MAE: "
        "that of the median of the training scores); dash-dotted, a system trained and scored on clean data."
    ),
    alternative="Line charts of the scores of Table 2 against the SNR or the rate, bar charts at a single level.",
)
def draw(intervals: Path, chance: Path, settings: ReportSettings) -> Drawn:
    """Draw the figure from the files of an experiment."""
    curves = robustness(read_intervals(intervals), settings, read_trainings(chance))
    return Drawn(curves, draw_robustness(curves, settings), note="" if curves.empty else _left_out(settings))


def read_intervals(path: str | Path) -> pd.DataFrame:
    """Read the 95 % intervals of an experiment's scores. Raises DataError if the file does not hold them."""
    return read_columns(path, _INTERVALS)


def robustness(
    intervals: pd.DataFrame, settings: ReportSettings, trainings: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return the data of the robustness curves, columns COLUMNS, least noise first.

    intervals: from :func:`read_intervals`; the cells are those of Table 2. A rate has the name of its kind; kinds
    without a level have no place on an axis and are left out. chance: the score of a constant prediction, from
    ``trainings`` (verdicts of ``nmer.results.chance``); missing without them. clean: for a system trained on clean
    data, its score on clean data, which is the same at every level; otherwise missing.
    """
    cells = with_chance(of_regime(intervals, "incomplete"), trainings)
    without_noise = intervals["dataset"].map(
        {name: all_clean(about.modalities) for name, about in settings.datasets.items()}
    )
    trained_clean = intervals[(intervals["regime"] == "clean") & (intervals["condition"] == without_noise)]
    key = ["dataset", "system", "metric"]
    clean = trained_clean.groupby(key)["value"].mean().rename("clean").reset_index()
    cells = cells.merge(clean, how="left", on=key)
    run = select(cells, {"corruption": corruptions(settings), "condition": [AVERAGE]})
    levels = with_rates(run, settings)
    levels = levels.assign(severity=severity_of(levels)).dropna(subset="severity")
    order = {
        "dataset": list(settings.datasets),
        "noise": list(dict.fromkeys(levels["noise"])),
        "system": settings.multimodal_systems,
        "metric": settings.metrics,
        "severity": sorted(set(levels["severity"])),
    }
    return select(levels, order)[list(COLUMNS)]


def draw_robustness(curves: pd.DataFrame, settings: ReportSettings) -> Figure:
    """Draw each metric against SNR or rate, two per row, with a line per system and its 95 % intervals.

    curves: from ``robustness``. Rows: datasets, noise kinds and, if there are more than two, metrics. Metrics that are
    fractions share the scale of their row. Noise increases to the right. A row with one level has a bar per system.
    Lines without markers: chance, dotted, and scores on clean data, dash-dotted, if there are any.
    """
    if curves.empty:
        return sentence_figure("This experiment has no scores at an SNR or a rate.")
    metrics = list(dict.fromkeys(curves["metric"]))
    run = list(dict.fromkeys(zip(curves["dataset"], curves["noise"], strict=True)))
    pairs = [metrics[first : first + 2] for first in range(0, len(metrics), 2)]
    rows = [(place, pair) for place in run for pair in pairs]
    styles = system_styles(list(dict.fromkeys(curves["system"])))
    parts = {row: curves[(curves["dataset"] == row[0]) & (curves["noise"] == row[1])] for row in run}
    levels = {row: ordered_levels(part) for row, part in parts.items()}
    kinds = {noise: part for noise, part in curves.groupby("noise", sort=False) if part["rate"].notna().all()}
    with_snr = curves[curves["rate"].isna()]
    with matplotlib.rc_context(SETTINGS):
        height = sum(3.0 if len(levels[place]) == 1 else 2.6 for place, _pair in rows)  # names of bars take more space
        figure = Figure(figsize=(WIDTH, height + 0.3 + legend_height(styles)), layout="constrained")
        axes = figure.subplots(len(rows), min(len(metrics), 2), squeeze=False)
        for row, ((dataset, noise), pair) in zip(axes, rows, strict=True):
            single = len(levels[dataset, noise]) == 1
            level = _level(levels[dataset, noise][0], noise in kinds) if single else ""
            for axis in row[len(pair) :]:
                axis.set_axis_off()
            if all(METRICS[metric].is_fraction for metric in pair):
                for axis in row[1 : len(pair)]:
                    axis.sharey(row[0])
            for axis, metric in zip(row, pair, strict=False):
                here = parts[dataset, noise][parts[dataset, noise]["metric"] == metric]
                if single:
                    draw_bars(axis, here, styles)
                else:
                    draw_curves(axis, here, styles, ordered_levels(kinds.get(noise, with_snr)))
                draw_chance(axis, here)
                draw_clean(axis, here, styles)
                name = short_title(dataset, settings.datasets[dataset])
                title = f"{name}, {noise_label(noise)}{level}"
                axis.set_title(wrapped(title, int((WIDTH / 2 - 0.3) / LETTER)), loc="left")
                axis.set_ylabel(textwrap.fill(f"{metric} ({METRICS[metric].label})", 25))  # fits its height
                axis.tick_params(labelleft=True)
        for has_rates, quantity in ((False, "SNR in dB"), (True, "rate")):
            several = [
                row
                for row, (about, _beside) in zip(axes, rows, strict=True)
                if len(levels[about]) > 1 and (about[1] in kinds) == has_rates
            ]
            for axis in itertools.chain(*several[-1:]):
                axis.set_xlabel(f"{quantity} (more noise to the right)")
        legend_below(figure, styles)
    return figure


def _level(level: float, is_rate: bool) -> str:
    """Return the end of the title of a row with a single level."""
    return f", rate {level:g}" if is_rate else f", {decibels(level)}"


def _left_out(settings: ReportSettings) -> str:
    """Return a sentence on the noises without a level; empty if every noise has one."""
    rates = rates_by_noise(settings.rates)
    names = [noise_label(noise) for noise, levels in settings.snr_db.items() if not levels and noise not in rates]
    return f"Not shown because they have no level: {', '.join(names)}." if names else ""
