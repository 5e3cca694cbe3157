"""Confusion matrices of each system at the mildest and hardest noise level, normalised by true class."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nmer.figures import Drawn, figure
from nmer.report_settings import ReportSettings
from nmer.results.class_labels import drawn_labels, legend
from nmer.results.confusion import confusion_matrices, read_counts
from nmer.results.drawn_text import drawn_system
from nmer.results.selection import by_level
from nmer.results.style import LETTER, SETTINGS, SHADES, WIDTH, label_height, sentence_figure, wrapped
from nmer.results.wording import level_title

NARROWEST, WIDEST = 0.74, 1.4  # inches, of a matrix
WORD = 11  # letters of the longest word of a title that is not split: "(reference)"
PER_CLASS, GAP, LABELS = 0.36, 0.12, 1.0  # inches, of a class, between matrices and to their left


@figure(
    "confusion",
    position=5,
    per_dataset=True,
    target="classes",
    sources=("confusion", "settings"),
    reads=(),
    title="Confusion",
    caption=(
        "Confusion matrices in percent of each true class: mean over the incomplete conditions, reference noise at its "
        "mildest and hardest level. The diagonal is the recall."
    ),
    alternative="Confusion matrices; the numbers are in the CSV.",
)
def draw(dataset: str, confusion: Path, settings: ReportSettings) -> Drawn:
    """Draw the figure from the confusion counts of an experiment."""
    shares = confusion_matrices(read_counts(confusion), settings, dataset)
    return Drawn(shares, draw_confusion(shares), note=legend(dict.fromkeys(shares["label"])))


def draw_confusion(shares: pd.DataFrame) -> Figure:
    """Draw a block of matrices per noise level, with a matrix per system: true classes in rows, predicted in columns.

    shares: columns noise, snr_db, system, label, predicted, share (0 to 1), in drawing order. Numbers are percent of
    the true class; the diagonal is the recall.
    """
    if shares.empty:
        return sentence_figure("This experiment has no predictions of multimodal systems.")
    classes = list(dict.fromkeys(shares["label"]))
    labels = list(drawn_labels(classes).values())
    blocks = by_level(shares)
    systems = list(dict.fromkeys(shares["system"]))
    side = min(max(PER_CLASS * len(classes), NARROWEST), WIDEST)
    names = list(map(drawn_system, systems))
    letters = max(int(side / LETTER), min(max(len(word) for name in names for word in name.split()), WORD))
    titles = [wrapped(name, letters) for name in names]
    title = label_height(titles)
    each = max(side, letters * LETTER) + GAP
    rows = math.ceil(len(systems) / int((WIDTH - LABELS) / each))
    columns = math.ceil(len(systems) / rows)
    width = max(columns * each + LABELS, 0.4 * WIDTH)
    with matplotlib.rc_context(SETTINGS | {"axes.grid": False}):
        figure = Figure(figsize=(width, len(blocks) * (rows * (side + title) + 0.9)), layout="constrained")
        parts = figure.subfigures(len(blocks), 1, squeeze=False)[:, 0]
        for part, (noise, snr_db, block) in zip(parts, blocks, strict=True):
            part.suptitle(level_title(noise, snr_db), x=0.01, ha="left", fontsize=9, fontweight="bold")
            part.supxlabel("predicted class", fontsize=8)
            part.supylabel("true class", fontsize=8)
            axes = part.subplots(rows, columns, squeeze=False)
            for place, axis in enumerate(axes.flat):
                if place >= len(systems):
                    axis.set_axis_off()
                    continue
                _draw_matrix(axis, block[block["system"] == systems[place]], classes)
                axis.set_title(titles[place])
                lowest = place >= (rows - 1) * columns
                # Upright: slanted labels would need space in the columns that have them only.
                axis.set_xticks(range(len(classes)), labels if lowest else [], rotation=90)
                axis.set_yticks(range(len(classes)), labels if place % columns == 0 else [])
    return figure


def _draw_matrix(axis: Axes, shares: pd.DataFrame, classes: list[str]) -> None:
    matrix = shares.pivot(index="label", columns="predicted", values="share").reindex(classes, columns=classes)
    numbers = matrix.to_numpy()
    colors = SHADES(numbers)
    axis.imshow(colors, interpolation="nearest")
    size = min(8, 42 / len(classes))  # points: three digits with margins fit into a cell
    for row, column in np.ndindex(colors.shape[:2]):
        share = numbers[row, column]
        if not np.isnan(share):
            axis.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=size)
    for edge in np.arange(0.5, len(classes) - 1):
        axis.axhline(edge, color="white", linewidth=1)
        axis.axvline(edge, color="white", linewidth=1)
    axis.tick_params(length=0, labelsize=8)
    axis.spines[:].set(visible=True, color="#bbbbbb")
