"""Matrices of the score of every training at every test level of its noise."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from nmer.figures import Drawn, figure
from nmer.names import plain_number
from nmer.report_settings import ReportSettings
from nmer.results.chance import read_all_trainings
from nmer.results.curves import draw_chance
from nmer.results.drawn_text import drawn_system
from nmer.results.labels import noise_label
from nmer.results.level_curves import RATE_AXIS, curve_points, trained_title
from nmer.results.scores import TRAINED_AT, read_all_scores
from nmer.results.style import SETTINGS, SHADES, WIDTH, label_height, sentence_figure, wrapped
from nmer.results.wording import ABSENT, AT_CHANCE

ROW = 0.24  # inches of a row


@figure(
    "levels",
    position=3,
    per_dataset=True,
    needs=("levels", "train_at", "test_at"),
    sources=("scores", "chance", "settings"),
    reads=("metrics",),
    title="Scores by training and test level",
    caption=(
        "The first metric of every training (rows: system and training level) at every level of a noise kind (columns, "
        "mildest first), averaged over the incomplete conditions, or with all modalities noisy. "
        "†: a training is at chance there. A dotted line on the scale is chance. The data contain all metrics."
    ),
    alternative="Matrices of scores: trainings in rows, test levels in columns.",
)
def draw(dataset: str, scores: Path, chance: Path, settings: ReportSettings) -> Drawn:
    """Draw the figure from the collected scores and the verdicts on trainings at chance."""
    points = curve_points(read_all_scores(scores), settings, read_all_trainings(chance))
    here = points[points["dataset"] == dataset].reset_index(drop=True)
    return Drawn(here, draw_levels(here, settings))


def draw_levels(points: pd.DataFrame, settings: ReportSettings) -> Figure:
    """Draw a panel per regime and noise kind. points: from ``curve_points``, of one dataset."""
    first_metric = points[points["metric"] == settings.metrics[0]]
    if first_metric.empty:
        return sentence_figure("This experiment has no scores at a noise level.")
    groups: Any = first_metric.groupby(["regime", "noise"], sort=False)
    panels = [(tuple(key), part) for key, part in groups]
    heights = [len(part[["system", TRAINED_AT]].drop_duplicates()) for _key, part in panels]
    low, high = math.floor(20 * first_metric["mean"].min()) / 20, math.ceil(20 * first_metric["mean"].max()) / 20
    ends = (low, max(high, low + 0.05))
    shade = Normalize(*ends)
    with matplotlib.rc_context(SETTINGS | {"axes.grid": False}):
        row = max(ROW, *(label_height(_labels(part)) for _key, part in panels))
        height = sum(row * rows + 0.75 for rows in heights)
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axis, ((regime, noise), part) in zip(axes, panels, strict=True):
            _draw_panel(axis, part, shade)
            view = "all modalities noisy" if regime == "all_noisy" else "incomplete conditions"
            axis.set_title(f"{noise_label(noise)}, {view}", loc="left")
        colors = matplotlib.cm.ScalarMappable(shade, SHADES)
        scale = figure.colorbar(colors, ax=list(axes), label=settings.metrics[0], fraction=0.03, aspect=25, pad=0.02)
        draw_chance(scale.ax, first_metric[first_metric["chance"].between(*ends)], name_ends=0)
    return figure


def _labels(part: pd.DataFrame) -> list[str]:
    rows = part[["system", TRAINED_AT]].drop_duplicates().itertuples(index=False, name=None)
    return [wrapped(f"{drawn_system(system)}: {trained_title(level)}", 40) for system, level in rows]


def _draw_panel(axis: Axes, part: pd.DataFrame, shade: Normalize) -> None:
    rows = list(part[["system", TRAINED_AT]].drop_duplicates().itertuples(index=False, name=None))
    is_rate = part["axis"].iloc[0] == RATE_AXIS
    levels = sorted(set(part["level"]), reverse=not is_rate)

    def matrix(column: str) -> np.ndarray:
        table = part.pivot(index=["system", TRAINED_AT], columns="level", values=column)
        return table.reindex(rows, columns=levels).to_numpy(float, na_value=np.nan)

    values, at_chance = matrix("mean"), matrix("at_chance") > 0
    colors = SHADES(shade(values))
    colors[np.isnan(values)] = matplotlib.colors.to_rgba("#eeeeee")
    axis.imshow(colors, aspect="auto", interpolation="nearest")
    for row, column in np.ndindex(values.shape):
        value = values[row, column]
        text = ABSENT if np.isnan(value) else f"{value:.3f}{AT_CHANCE if at_chance[row, column] else ''}"
        axis.text(column, row, text, ha="center", va="center", fontsize=6.5)
    axis.set_yticks(range(len(rows)), _labels(part))
    axis.set_xticks(range(len(levels)), [str(plain_number(level)).replace("-", "−") for level in levels])
    axis.set_xlabel("tested at (rate)" if is_rate else "tested at (SNR in dB)")
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
