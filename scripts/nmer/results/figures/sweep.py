"""Sweep figure: test and validation scores over the values of an option, with the best validation score marked."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nmer.figures import Drawn, figure
from nmer.metrics import METRICS
from nmer.report_settings import ReportSettings
from nmer.results.drawn_text import literal
from nmer.results.reading import SNR, read_columns, rows_of
from nmer.results.style import SETTINGS, WIDTH, name_places, sentence_figure
from nmer.results.sweep import by_place, choices, place_title
from nmer.results.wording import short_title

COLUMNS = {
    **dict.fromkeys(("dataset", "regime", "noise"), "str"),
    "snr_db": SNR,
    **dict.fromkeys(("option", "value", "metric"), "str"),
    **dict.fromkeys(("test", "test_std", "validation", "validation_std"), "float64"),
    "chosen": "str",
}
TEST, VALIDATION = ("#D55E00", "D", "-"), ("#0072B2", "o", "--")
"""Colour, marker and dash pattern of the two lines."""


@figure(
    "sweep",
    position=3,
    needs=("sweep",),
    sources=("sweep", "settings"),
    reads=("metrics",),
    title="Sweep",
    caption=(
        "Test scores (averaged as in the table of the sweep) and validation scores of the selected epochs over the "
        "values of the swept options, in the order of the configuration. Vertical lines: standard deviation over "
        "repeats. Grey band: the value with the best validation score."
    ),
    alternative="Line charts of test and validation scores over the values of an option.",
)
def draw(sweep: Path, settings: ReportSettings) -> Drawn:
    """Draw the figure from the table of the sweep."""
    table = read_columns(sweep, COLUMNS)
    table["chosen"] = table["chosen"] == "True"
    return Drawn(table, draw_sweep(table, settings), note=choice_note(table, settings))


def draw_sweep(table: pd.DataFrame, settings: ReportSettings) -> Figure:
    """Draw each metric over the values, two per row, for every dataset, regime and noise level; values are equally
    spaced."""
    if table.empty:
        return sentence_figure("This experiment has no scores of the sweep.")
    metrics = list(dict.fromkeys(table["metric"]))
    pairs = [metrics[first : first + 2] for first in range(0, len(metrics), 2)]
    rows = [(place, pair) for place in by_place(table) for pair in pairs]
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(WIDTH, 2.3 * len(rows) + 0.5), layout="constrained")
        axes = figure.subplots(len(rows), min(len(metrics), 2), squeeze=False)
        for row, (((dataset, regime, noise, snr_db), part), pair) in zip(axes, rows, strict=True):
            name = short_title(dataset, settings.dataset(dataset))
            # One title per row: next to each other they would run into each other.
            row[0].set_title(f"{name}, {place_title(regime, noise, snr_db)}", loc="left")
            for axis in row[len(pair) :]:
                axis.set_axis_off()
            for axis, metric in zip(row, pair, strict=False):
                _draw_panel(axis, part[part["metric"] == metric], WIDTH / len(row) - 0.7)
                axis.set_ylabel(textwrap.fill(f"{metric} ({METRICS[metric].label})", 25))  # fits its height
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def choice_note(table: pd.DataFrame, settings: ReportSettings) -> str:
    """Return a sentence on the values with the best validation score and the best test score of the first metric.

    Empty if no value is chosen, as in an unfinished experiment whose best value has no test scores yet.
    """
    if table.empty:
        return ""
    metric = settings.metrics[0] if settings.metrics[0] in set(table["metric"]) else table["metric"].iloc[0]
    parts = []
    chosen = choices(table, metric)
    for row in rows_of(chosen[chosen["chosen"] != ""]):
        place = f"{row.dataset}, {place_title(row.regime, row.noise, row.snr_db)}"
        parts.append(f"{row.chosen} on {place} (best test {metric}: {row.best})")
    return f"Best validation score: {'; '.join(parts)}." if parts else ""


def _draw_panel(axis: Axes, part: pd.DataFrame, width: float) -> None:
    places = range(len(part))
    lines = (("test", *TEST), ("validation", *VALIDATION))
    for name, color, marker, dash in lines:
        axis.errorbar(
            places, part[name], part[f"{name}_std"].fillna(0), fmt="none", ecolor=color, elinewidth=1, alpha=0.6
        )
        axis.plot(places, part[name], color=color, marker=marker, linestyle=dash, markersize=4.5, label=name)
    for place, chosen in zip(places, part["chosen"], strict=True):
        if chosen:
            axis.axvspan(place - 0.35, place + 0.35, color="#bbbbbb", alpha=0.35, linewidth=0)
    options = part["option"].iloc[0]
    # The axis names the options, in the order of their values.
    names = re.compile("|".join(rf"(?:^|(?<=, )){re.escape(option)} " for option in options.split(", ")))
    name_places(axis, [literal(names.sub("", value)) for value in part["value"]], width)
    axis.set_xlabel(options)
    axis.margins(x=0.1)
