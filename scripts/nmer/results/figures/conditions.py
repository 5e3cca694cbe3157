"""Heat maps of scores per condition and noise level, which show the modalities that a system depends on."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from nmer.figures import Drawn, figure
from nmer.names import ALL_NOISY, AVERAGE, SIX_CONDITIONS
from nmer.report_settings import ReportSettings
from nmer.results.chance import MARKS, read_trainings, with_chance, with_marks
from nmer.results.curves import draw_chance
from nmer.results.drawn_text import drawn_system
from nmer.results.scores import average, of_regime, read_scores
from nmer.results.selection import by_level, corruptions, of_dataset, of_table_5, select
from nmer.results.style import SETTINGS, SHADES, WIDTH, label_height, sentence_figure, wrapped
from nmer.results.wording import ABSENT, AT_CHANCE, level_title
from nmer.snr_column import with_snr

COLUMNS = ("dataset", "noise", "snr_db", "system", "condition", "metric", "mean", "std", "n", *MARKS, "chance")
HEADS = {**{condition: condition for condition in SIX_CONDITIONS}, AVERAGE: "avg.", ALL_NOISY: ALL_NOISY}
"""Columns of a panel and their headers."""

LINE_HEIGHT = 0.135  # inches, of one of the numbers of a cell
LETTERS_PER_INCH = 15  # of the explanation below the panels
ABSENT_SHADE = "#eeeeee"


@figure(
    "conditions",
    position=3,
    per_dataset=True,
    sources=("scores", "chance", "settings"),
    reads=("metrics", "conditions", "all_noisy_snr_db"),
    title="Conditions",
    caption=(
        "Scores of every system in each condition, named by its clean modalities, and on average. The scale names the "
        "metric of the shade and of the top number. “none”: trained and tested with all modalities noisy (MEN: trained "
        "clean). †: a training is at chance. Dotted line on the scale: chance."
    ),
    alternative="Heat maps of the scores of Tables 2, 3 and 5.",
)
def draw(dataset: str, scores: Path, chance: Path, settings: ReportSettings) -> Drawn:
    """Draw the figure from the files of an experiment."""
    cells = condition_scores(read_scores(scores), settings, dataset, read_trainings(chance))
    return Drawn(cells, draw_conditions(cells))


def condition_scores(
    scores: pd.DataFrame, settings: ReportSettings, dataset: str, trainings: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return the data of one dataset's heat maps, columns COLUMNS: least noise first, systems in the paper's order.

    Incomplete conditions and their average are the cells of Tables 2 and 3, ``none`` those of Table 5. MARKS and chance
    come from ``trainings`` (verdicts of ``nmer.results.chance``) and are missing without them.
    Raises ConfigError for an unknown dataset, DataError if conditions or folds are missing.
    """
    systems = settings.multimodal_systems
    own = of_dataset(scores, settings, dataset)
    own = own[own["system"].isin(systems)]
    six, none = average(of_regime(own, "incomplete")), average(of_regime(own, "all_noisy"))
    cells = with_snr(pd.concat([six[six["condition"] != ALL_NOISY], of_table_5(none, settings)]))
    cells = with_chance(with_marks(cells, trainings), trainings)
    order = {
        "corruption": corruptions(settings),
        "system": systems,
        "condition": [*settings.incomplete(settings.dataset(dataset).modalities), AVERAGE, ALL_NOISY],
        "metric": settings.metrics,
    }
    return select(cells, order)[list(COLUMNS)]


def draw_conditions(cells: pd.DataFrame) -> Figure:
    """Draw a panel per noise kind and level, at most two per row: systems in rows, conditions in columns.

    cells: from :func:`condition_scores`. The shade is the first metric; all metrics are printed, one above the other.
    A cell that was not run has a dash, one with a training at chance a dagger. A dotted line on the scale is chance.
    """
    if cells.empty:
        return sentence_figure("This experiment has no scores of multimodal systems.")
    panels = by_level(cells)
    systems = list(dict.fromkeys(cells["system"]))
    heads = {condition: head for condition, head in HEADS.items() if (cells["condition"] == condition).any()}
    metrics = list(dict.fromkeys(cells["metric"]))
    shaded = cells.loc[cells["metric"] == metrics[0], "mean"]
    known = shaded if shaded.notna().any() else pd.Series([0.0])  # all may be undefined
    lowest = math.floor(known.min() * 20)
    ends = (lowest / 20, max(math.ceil(known.max() * 20), lowest + 1) / 20)
    shade = Normalize(*ends)
    per_row = min(len(panels), 2)
    rows = math.ceil(len(panels) / per_row)
    labels = [wrapped(drawn_system(system)) for system in systems]
    cell_height = max(LINE_HEIGHT * len(metrics), label_height(labels))
    with matplotlib.rc_context(SETTINGS | {"axes.grid": False}):
        height = rows * (cell_height * len(systems) + 0.38) + 0.35
        figure = Figure(figsize=(WIDTH if per_row == 2 else 0.62 * WIDTH, height), layout="constrained")
        axes = figure.subplots(rows, per_row, squeeze=False, sharex=True, sharey=True).flatten()
        for axis, (noise, snr_db, here) in zip(axes, panels, strict=False):
            _draw_panel(axis, here, metrics, systems, heads, shade)
            axis.set_title(level_title(noise, snr_db), loc="left")
            axis.set_yticks(range(len(systems)), labels)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        colors = matplotlib.cm.ScalarMappable(shade, SHADES)
        scale = figure.colorbar(colors, ax=axes, label=metrics[0], fraction=0.03, aspect=max(15 * rows, 20), pad=0.02)
        draw_chance(scale.ax, cells[(cells["metric"] == metrics[0]) & cells["chance"].between(*ends)], name_ends=0)
        marked = f" {AT_CHANCE}: at chance." if (cells["at_chance"].fillna(0) > 0).any() else ""
        below = f", below: {', '.join(metrics[1:])}" if len(metrics) > 1 else ""
        explanation = f"Clean modalities. Shade and upper number: {metrics[0]}{below}.{marked}"
        figure.supxlabel(textwrap.fill(explanation, int(figure.get_figwidth() * LETTERS_PER_INCH)), fontsize=8)
    return figure


def _draw_panel(
    axis: Axes, cells: pd.DataFrame, metrics: list[str], systems: list[str], heads: dict[str, str], shade: Normalize
) -> None:
    by_metric = {}
    for metric, rows in cells.groupby("metric"):
        table = rows.pivot(index="system", columns="condition", values="mean")
        by_metric[metric] = table.reindex(systems, columns=list(heads)).to_numpy()
    colors = SHADES(shade(by_metric[metrics[0]]))
    colors[np.isnan(by_metric[metrics[0]])] = matplotlib.colors.to_rgba(ABSENT_SHADE)
    axis.imshow(colors, aspect="auto", interpolation="nearest")
    trainings = cells.pivot_table(index="system", columns="condition", values="at_chance", aggfunc="max")
    at_chance = trainings.reindex(systems, columns=list(heads)).fillna(0).to_numpy() > 0
    for row, column in np.ndindex(colors.shape[:2]):
        numbers = [by_metric[metric][row, column] for metric in metrics]
        mark = AT_CHANCE if at_chance[row, column] else ""
        text = "\n".join(ABSENT if np.isnan(number) else f"{number:.3f}{mark}" for number in numbers)
        text = ABSENT if np.isnan(numbers).all() else text
        axis.text(column, row, text, ha="center", va="center", fontsize=6.5, linespacing=1.0)
    _separate(axis, len(systems), list(heads))
    axis.set_xticks(range(len(heads)), heads.values())
    axis.xaxis.set_tick_params(labelbottom=True)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def _separate(axis: Axes, rows: int, heads: list[str]) -> None:
    """Draw white lines between cells, wider ones next to the average, which covers the columns to its left."""
    for row in range(1, rows):
        axis.axhline(row - 0.5, color="white", linewidth=1)
    for column in range(1, len(heads)):
        axis.axvline(column - 0.5, color="white", linewidth=4 if AVERAGE in heads[column - 1 : column + 1] else 1)
