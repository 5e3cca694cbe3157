"""The robustness curves: how each system's accuracy, averaged over incomplete conditions, falls with noise."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from nmer.figures import Drawn, figure
from nmer.metrics import METRICS
from nmer.names import AVERAGE
from nmer.report_settings import ReportSettings
from nmer.results.chance import read_trainings, with_chance
from nmer.results.curves import draw_chance, draw_curves
from nmer.results.labels import noise_label
from nmer.results.reading import read_columns
from nmer.results.scores import of_regime
from nmer.results.selection import corruptions, select
from nmer.results.style import SETTINGS, WIDTH, legend_below, legend_height, sentence_figure, system_styles
from nmer.results.wording import short_title

COLUMNS = ("dataset", "noise", "snr_db", "system", "metric", "value", "low", "high", "chance")

_INTERVALS = {
    **dict.fromkeys(("dataset", "system", "regime", "noise"), "str"),
    "snr_db": "Int64",
    **dict.fromkeys(("condition", "metric"), "str"),
    **dict.fromkeys(("value", "low", "high"), "float64"),
}


@figure(
    "robustness",
    position=1,
    sources=("intervals", "chance", "settings"),
    title="Robustness",
    caption=(
        "Each metric, averaged over the incomplete conditions, against the SNR. Bars: 95 % intervals. Dotted: chance, "
        "what a constant prediction attains (UA: 1 / classes; WA: the share of the largest class)."
    ),
    alternative="Line charts of the scores of Table 2 against the SNR.",
)
def draw(intervals: Path, chance: Path, settings: ReportSettings) -> Drawn:
    """The figure and its data from the files of an experiment."""
    curves = robustness(read_intervals(intervals), settings, read_trainings(chance))
    return Drawn(curves, draw_robustness(curves, settings))


def read_intervals(path: str | Path) -> pd.DataFrame:
    """The 95 % intervals of an experiment's scores. Raises DataError if the file is none."""
    return read_columns(path, _INTERVALS)


def robustness(
    intervals: pd.DataFrame, settings: ReportSettings, trainings: pd.DataFrame | None = None
) -> pd.DataFrame:
    """What the robustness curves show, columns COLUMNS, least noise first.

    intervals: as :func:`read_intervals` gives them; the cells are those of Table 2. Kinds without an SNR have no place
    on the axis and are left out. chance: what a constant prediction attains, from ``trainings`` (verdicts of
    ``nmer.results.chance``); missing without them.
    """
    cells = with_chance(of_regime(intervals, "six"), trainings)
    order = {
        "dataset": list(settings.datasets),
        "noise": list(settings.snr_db),
        "system": settings.multimodal_systems,
        "metric": settings.metrics,
        "corruption": corruptions(settings),
        "condition": [AVERAGE],
    }
    return select(cells[cells["snr_db"].notna()], order)[list(COLUMNS)]


def draw_robustness(curves: pd.DataFrame, settings: ReportSettings) -> Figure:
    """Each metric against SNR, one row per dataset and noise kind, one line per system, bars: 95 % intervals.

    curves: as ``robustness`` returns. Noise grows to the right. Dotted: chance, where it is known.
    """
    if curves.empty:
        return sentence_figure("No score at an SNR was run in this experiment.")
    metrics = list(dict.fromkeys(curves["metric"]))
    rows = list(dict.fromkeys(zip(curves["dataset"], curves["noise"], strict=True)))
    places = sorted({int(snr_db) for snr_db in curves["snr_db"]}, reverse=True)
    styles = system_styles(list(dict.fromkeys(curves["system"])))
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(WIDTH, 2.6 * len(rows) + 0.3 + legend_height(styles)), layout="constrained")
        axes = figure.subplots(len(rows), len(metrics), squeeze=False, sharey="row")
        for row, (dataset, noise) in zip(axes, rows, strict=True):
            for axis, metric in zip(row, metrics, strict=True):
                here = (curves["dataset"] == dataset) & (curves["noise"] == noise) & (curves["metric"] == metric)
                draw_curves(axis, curves[here], styles, places)
                draw_chance(axis, curves[here])
                axis.set_title(f"{short_title(dataset, settings.datasets[dataset])}, {noise_label(noise)}", loc="left")
                axis.set_ylabel(f"{metric} ({METRICS[metric].label})")
                axis.tick_params(labelleft=True)
        for axis in axes[-1]:
            axis.set_xlabel("SNR in dB (more noise to the right)")
        legend_below(figure, styles)
    return figure
