"""Critical-difference diagram (Demsar 2006): average ranks of the systems, and bars across insignificant differences.

Source: J. Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7 (2006), section 3.2.2.
"""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nmer.figures import Drawn, figure
from nmer.names import REFERENCE_SYSTEM
from nmer.report_settings import ReportSettings
from nmer.results.drawn_text import drawn_system
from nmer.results.labels import system_label
from nmer.results.reading import read_columns, rows_of
from nmer.results.statistics import FEWEST_BLOCKS
from nmer.results.style import SETTINGS, WIDTH, SystemStyle, sentence_figure, system_styles, wrapped

COLUMNS = ("metric", "system", "rank", "blocks", "friedman_p", "critical_difference", "bars")

_RANKS = {
    **dict.fromkeys(("metric", "system"), "str"),
    "rank": "float64",
    "blocks": "Int64",
    **dict.fromkeys(("friedman_p", "critical_difference"), "float64"),
}
AXIS_AT, LINE, BAR = 0.9, 0.21, 0.09  # inches: the axis below the top, a system's name, a bar
SIGNIFICANT = 0.05


@figure(
    "ranks",
    position=2,
    sources=("ranks", "settings"),
    reads=("metrics", "reference"),
    title="Ranks",
    caption=(
        "Average ranks, 1 is best, and Nemenyi's critical difference. A bar joins systems whose ranks differ by less, "
        "which is not significant. With fewer than 6 blocks (datasets and folds) there is no test."
    ),
    alternative="Critical-difference diagrams.",
)
def draw(ranks: Path, settings: ReportSettings) -> Drawn:
    """Draw the figure from the average ranks of an experiment."""
    table = read_ranks(ranks)
    of_metric = [table[table["metric"] == metric] for metric in settings.metrics]
    ranked = with_bars(pd.concat(of_metric))
    return Drawn(ranked, draw_ranks(ranked, settings.reference_system), spoken=_spoken(ranked))


def read_ranks(path: str | Path) -> pd.DataFrame:
    """Read average ranks and their critical difference, best first. Raises DataError if the file holds none."""
    return read_columns(path, _RANKS)


def with_bars(table: pd.DataFrame) -> pd.DataFrame:
    """Return the data of the diagram, columns COLUMNS: best system first, metrics in the order of the table.

    table: from :func:`read_ranks`. bars: numbers of the bars that join a system, separated by spaces.
    """
    parts = []
    for _, rows in table.groupby("metric", sort=False):
        ordered = rows.sort_values("rank", kind="stable")
        bars = joined(ordered["rank"].tolist(), ordered["critical_difference"].iloc[0])
        own = [[str(bar) for bar, (first, last) in enumerate(bars, 1) if first <= i <= last] for i in range(len(rows))]
        parts.append(ordered.assign(bars=[" ".join(numbers) for numbers in own]))
    return pd.concat(parts, ignore_index=True)[list(COLUMNS)] if parts else pd.DataFrame(columns=list(COLUMNS))


def joined(ordered: list[float], critical_difference: float) -> list[tuple[int, int]]:
    """Return positions (first, last) of the largest groups of systems whose ranks differ by less than the difference.

    ordered: average ranks, best first. A system that differs from all others is in no group.
    """
    groups: list[tuple[int, int]] = []
    for first, best in enumerate(ordered):
        last = first + sum(rank - best < critical_difference for rank in ordered[first + 1 :])
        # A group that ends with the previous one is part of it.
        if last > max([first, *(end for _, end in groups)]):
            groups.append((first, last))
    return groups


def draw_ranks(table: pd.DataFrame, reference: str = REFERENCE_SYSTEM) -> Figure:
    """Draw a diagram per metric, with the best rank on the left. table: from :func:`with_bars`."""
    if table.empty:
        return sentence_figure("Ranks need at least three systems that were tested on the same data.")
    styles = system_styles(list(dict.fromkeys(table["system"])))
    diagrams = [(str(metric), rows.reset_index(drop=True)) for metric, rows in table.groupby("metric", sort=False)]
    heights = [_names_at(rows) + _line(rows) * math.ceil(len(rows) / 2) + 0.15 for _, rows in diagrams]
    with matplotlib.rc_context(SETTINGS | {"axes.grid": False}):
        figure = Figure(figsize=(WIDTH, sum(heights)))
        for place, (metric, rows) in enumerate(diagrams):
            bottom, height = sum(heights[place + 1 :]), heights[place]
            axis = figure.add_axes((0, bottom / sum(heights), 1, height / sum(heights)))
            axis.set(xlim=(0, WIDTH), ylim=(height, 0))  # in inches, down from the top
            axis.set_axis_off()
            _draw_diagram(axis, metric, rows, styles, reference)
    return figure


def _spoken(table: pd.DataFrame) -> str:
    lines = [
        f"{metric}: " + ", ".join(f"{system_label(row.system)} {row.rank:.2f}" for row in rows_of(part))
        for metric, part in table.groupby("metric", sort=False)
    ]
    return f"{'; '.join(lines) or 'Nothing was ranked'}."


def _bars(rows: pd.DataFrame) -> dict[str, list[float]]:
    """Return the ranks of the systems that each bar joins."""
    ends: dict[str, list[float]] = {}
    for rank, bars in zip(rows["rank"], rows["bars"], strict=True):
        for bar in bars.split():
            ends.setdefault(bar, []).append(rank)
    return ends


def _names(rows: pd.DataFrame) -> list[str]:
    return [wrapped(drawn_system(system), 24) for system in rows["system"]]


def _line(rows: pd.DataFrame) -> float:
    """Return the distance between names in inches."""
    return LINE * max(name.count("\n") + 1 for name in _names(rows))


def _names_at(rows: pd.DataFrame) -> float:
    """Return the position of the first name in inches from the top, below the axis and its bars."""
    return AXIS_AT + 0.2 + BAR * len(_bars(rows))


def _draw_diagram(axis: Axes, metric: str, rows: pd.DataFrame, styles: dict[str, SystemStyle], reference: str) -> None:
    names = _names(rows)
    margin = 0.65 + 0.08 * max(len(line) for name in names for line in name.split("\n"))
    margin = max(margin, 0.2 * WIDTH)  # the critical difference may be a fifth longer than the axis
    unit = (WIDTH - 2 * margin) / (len(rows) - 1)

    def at(rank: float) -> float:
        return margin + (rank - 1) * unit

    first = rows.iloc[0]
    axis.text(0.1, 0.18, f"{metric}: {_test(first)}", va="center", fontweight="bold")
    if not math.isnan(first["critical_difference"]):
        end = at(1 + first["critical_difference"])
        axis.plot([at(1), at(1), end, end], [0.56, 0.5, 0.5, 0.56], color="black", linewidth=1)
        text = f"critical difference {first['critical_difference']:.2f}"
        axis.text(at(1), 0.45, text, fontsize=8, va="bottom")
    axis.plot([at(1), at(len(rows))], [AXIS_AT, AXIS_AT], color="black", linewidth=1)
    for rank in range(1, len(rows) + 1):
        axis.plot([at(rank)] * 2, [AXIS_AT - 0.06, AXIS_AT], color="black", linewidth=1)
        axis.text(at(rank), AXIS_AT - 0.08, str(rank), fontsize=8, ha="center", va="bottom")
    for place, ends in enumerate(_bars(rows).values()):
        height = AXIS_AT + 0.12 + BAR * place
        axis.plot([at(min(ends)) - 0.04, at(max(ends)) + 0.04], [height] * 2, color="black", linewidth=3)
    left = math.ceil(len(rows) / 2)
    for place, (row, name) in enumerate(zip(rows_of(rows), names, strict=True)):
        style = styles[row.system]
        # The best is at the top left and the worst at the top right, so that lines do not cross.
        on_left = place < left
        height = _names_at(rows) + _line(rows) * ((place if on_left else len(rows) - 1 - place) + 0.5)
        edge = margin - 0.15 if on_left else WIDTH - margin + 0.15
        width = 2 if row.system == reference else 1.2
        line = [at(row.rank), at(row.rank), edge], [AXIS_AT, height, height]
        axis.plot(*line, color=style.color, linestyle=style.dash, linewidth=width)
        # The one at the name distinguishes systems of equal rank, whose markers at the axis hide each other.
        line_ends = [at(row.rank), edge], [AXIS_AT, height]
        axis.plot(*line_ends, marker=style.marker, color=style.color, linestyle="", markersize=6, clip_on=False)
        text = f"{name}  {row.rank:.2f}" if on_left else f"{row.rank:.2f}  {name}"
        axis.text(edge + (-0.1 if on_left else 0.1), height, text, ha="right" if on_left else "left", va="center")


def _test(row: pd.Series) -> str:
    p = row["friedman_p"]
    if math.isnan(p):
        blocks = "1 block" if row["blocks"] == 1 else f"{row['blocks']} blocks"
        return f"{blocks} (datasets and folds), too few for a test: {FEWEST_BLOCKS} are needed"
    p_text = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    verdict = "" if p < SIGNIFICANT else ": no significant difference between the systems"
    return f"Friedman test over {row['blocks']} blocks, {p_text}{verdict}"
