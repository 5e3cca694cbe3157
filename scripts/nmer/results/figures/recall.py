"""Recall of every class against the SNR."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from nmer.figures import Drawn, figure
from nmer.report_settings import ReportSettings
from nmer.results.class_labels import drawn_labels, legend
from nmer.results.confusion import read_counts, recall
from nmer.results.curves import draw_curves
from nmer.results.labels import noise_label
from nmer.results.noise_levels import ordered_levels
from nmer.results.style import (
    LETTER,
    SETTINGS,
    WIDTH,
    label_height,
    legend_below,
    legend_height,
    sentence_figure,
    system_styles,
    wrapped,
)

MOST_COLUMNS = 4


@figure(
    "recall",
    position=4,
    per_dataset=True,
    target="classes",
    sources=("confusion", "settings"),
    reads=(),
    title="Recall per class",
    caption="Recall of every class against the SNR or the rate, mean over the incomplete conditions.",
    alternative="Line charts of recall against the SNR or the rate, one for each class.",
)
def draw(dataset: str, confusion: Path, settings: ReportSettings) -> Drawn:
    """Draw the figure from the confusion counts of an experiment."""
    curves = recall(read_counts(confusion), settings, dataset)
    return Drawn(curves, draw_recall(curves), note=legend(dict.fromkeys(curves["label"])))


def draw_recall(curves: pd.DataFrame) -> Figure:
    """Draw a panel per class, at most four per row, with a line per system; a block of rows per noise kind.

    curves: columns noise, snr_db, rate, system, label, recall (0 to 1), in drawing order.
    """
    if curves.empty:
        return sentence_figure("This experiment has no predictions at an SNR or a rate.")
    classes = list(dict.fromkeys(curves["label"]))
    drawn = drawn_labels(classes)
    noises = list(dict.fromkeys(curves["noise"]))
    with_snr = curves[curves["rate"].isna()]
    styles = system_styles(list(dict.fromkeys(curves["system"])))
    # Arrange five classes as three and two, not as four and one.
    rows_each = math.ceil(len(classes) / MOST_COLUMNS)
    columns = math.ceil(len(classes) / rows_each)
    rows = rows_each * len(noises)
    titles = {
        (noise, label): wrapped(
            f"{drawn[label]}, {noise_label(noise)}" if len(noises) > 1 else drawn[label],
            int((WIDTH / columns - 0.3) / LETTER),
        )
        for noise in noises
        for label in classes
    }
    height = 2.03 + label_height(titles.values())
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(WIDTH, height * rows + 0.4 + legend_height(styles)), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, sharex="row", sharey=True)
        for block, noise in enumerate(noises):
            panels = axes[block * rows_each : (block + 1) * rows_each].flatten()
            own = curves[curves["noise"] == noise]
            has_rates = own["rate"].notna().all()
            places = ordered_levels(own if has_rates else with_snr)
            for axis in panels[len(classes) :]:
                axis.set_axis_off()
            for axis in panels[-columns:]:
                axis.set_xlabel("rate" if has_rates else "SNR in dB")
            for axis, label in zip(panels, classes, strict=False):
                here = own[own["label"] == label]
                draw_curves(axis, here.rename(columns={"recall": "value"}), styles, places)
                axis.set_title(titles[noise, label], loc="left")
                axis.tick_params(labelbottom=True)
        for axis in axes[:, 0]:
            axis.set_ylabel("recall")
        legend_below(figure, styles)
    return figure
