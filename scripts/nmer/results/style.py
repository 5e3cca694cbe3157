"""Style of all figures, and saving them so that equal data give equal files."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle, repeat
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from nmer.files import atomic_path, write_text
from nmer.names import in_paper_order
from nmer.results.drawn_text import FONT, drawn_system, from_literal, literal

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.typing import RcKeyType

SETTINGS: dict[RcKeyType, Any] = {
    "font.family": FONT,  # ships with matplotlib: the same on every machine
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "pdf.fonttype": 42,
}
WIDTH = 7.2  # inches, of a figure with several panels: a page of text
LETTER = 0.085  # inches, of a title
SMALL_LETTER, SMALL_LINE = 0.06, 0.12  # inches, of the names of places
RESOLUTION = 160  # dots per inch of the PNG: sharp on a screen, small inside the report

ORIGINAL, NOISY = "#0072B2", "#E69F00"
"""Colours of the two kinds of points in Figure 3; they also differ in lightness, for greyscale."""

SHADES = LinearSegmentedColormap.from_list("shades", ("#f7fbff", "#deebf7", "#c6dbef", "#9ecae1", "#6baed6", "#4292c6"))
"""Colours of cells: darker is more, also in greyscale and for colour-blind readers; all contrast with black numbers.

Source: the lighter part of ColorBrewer's Blues.
"""


@dataclass(frozen=True)
class SystemStyle:
    """Colour, marker and dash pattern of a system, the same in every figure."""

    color: str
    marker: str
    dash: str = "-"


# Okabe and Ito's palette (colour-blind safe); ablations are dashed; NMER has the strongest colour.
_PAPER = {
    "men": SystemStyle("#595959", "o"),
    "mctn": SystemStyle("#E69F00", "v"),
    "mmin": SystemStyle("#56B4E9", "s"),
    "if_mmin": SystemStyle("#009E73", "^"),
    "nmer": SystemStyle("#D55E00", "D"),
    "nmer_no_vae": SystemStyle("#CC79A7", "P", "--"),
    "nmer_no_inv": SystemStyle("#0072B2", "X", "--"),
}
# Systems that are not in the paper are dash-dotted, in colours of Tol's muted palette.
_COMPARED = {
    "emt_dlfr": SystemStyle("#AA4499", "d", "-."),
    "momke": SystemStyle("#44AA99", "8", "-."),
    "lnln": SystemStyle("#999933", "H", "-."),
    "cif_mmin": SystemStyle("#CC6677", "x", "-."),
}
# References are dotted, a constant prediction in one style and a regression in another.
_CONSTANT, _REGRESSION = SystemStyle("#332288", "*", ":"), SystemStyle("#117733", "<", ":")
_REFERENCES = {
    "majority": _CONSTANT,
    "median": _CONSTANT,
    "logistic_regression": _REGRESSION,
    "ridge": _REGRESSION,
}
_SHIPPED = _PAPER | _COMPARED | _REFERENCES
# User-defined systems are dotted. Four colours and five markers in turn give twenty styles, two of them for references.
_OWN_COLORS = ("#332288", "#117733", "#882255", "#000000")
_OWN_MARKERS = ("*", "<", ">", "h", "p")


def system_styles(systems: list[str]) -> dict[str, SystemStyle]:
    """Return the style of each system. Those of shipped systems and references are fixed; custom ones follow in order
    and repeat after eighteen."""
    others = [system for system in in_paper_order(systems) if system not in _SHIPPED]
    drawn = map(SystemStyle, cycle(_OWN_COLORS), cycle(_OWN_MARKERS), repeat(":"))
    styles = (style for style in drawn if style not in _REFERENCES.values())
    own = dict(zip(others, styles, strict=False))
    return {system: (_SHIPPED | own)[system] for system in in_paper_order(systems)}


def sentence_figure(sentence: str) -> Figure:
    """Return a figure with a sentence that explains why it has no data."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(WIDTH, 1.2))
        figure.text(0.5, 0.5, sentence, ha="center", va="center")
    return figure


def legend_below(figure: Figure, systems: Iterable[str]) -> None:
    """Add a legend below all panels, with each system once that a panel drew under its label."""
    # If several panels have a label, use the first handle: lines rather than the bars below them.
    drawn = [zip(*axis.get_legend_handles_labels(), strict=True) for axis in reversed(figure.axes)]
    handles_by_label = {label: handle for handles in drawn for handle, label in handles}
    labels = [label for label in map(drawn_system, systems) if label in handles_by_label]
    columns = legend_columns(labels)
    figure.legend([handles_by_label[label] for label in labels], labels, loc="outside lower center", ncols=columns)


def legend_columns(labels: Sequence[str]) -> int:
    """Return the number of columns of a legend: at most four, fewer if long names would exceed the figure."""
    widest = 0.6 + 0.075 * max(map(len, labels), default=0)  # inches: line and gaps, and letters of this font size
    return max(min(int(WIDTH / widest), 4), 1)


def legend_height(systems: Iterable[str]) -> float:
    """Return the height of :func:`legend_below` in inches."""
    labels = list(map(drawn_system, systems))
    return 0.2 * max(-(-len(labels) // legend_columns(labels)), 1)


def wrapped(name: str, width: int = 14) -> str:
    """Wrap a name to lines of at most ``width`` letters, after underscores and between words if possible.

    name: as given to matplotlib, like the result (:func:`nmer.results.drawn_text.literal`).
    """
    lines = [""]
    for piece in re.findall(rf"[^_ ]{{1,{width - 1}}}[_ ]?|[_ ]", from_literal(name)):
        if len((lines[-1] + piece).rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return literal("\n".join(line.rstrip() for line in lines))


def name_places(axis: Axes, names: Sequence[str], width: float) -> None:
    """Name the places 0, 1, … of an axis: side by side if there is space for ten letters or all, else slanted.

    names: as given to matplotlib. width: of the axis in inches. Slanted names have as many lines as fit next to each
    other; of longer ones the middle is left out, because variants differ at the end.
    """
    each = width / max(len(names), 1)
    letters, longest = int(each / SMALL_LETTER), max(map(len, names), default=0)
    text: dict[str, Any] = {}
    if letters >= min(longest, 10):
        shown = [wrapped(name, max(letters, 2)) for name in names]
    else:
        lines = max(int(each * math.sin(math.pi / 4) / SMALL_LINE), 1)
        letters = min(max(math.ceil(1.2 * longest / lines), 18), 24)
        shown = [_shortened(name, letters, lines) for name in names]
        text = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axis.set_xticks(range(len(names)), shown, **text)
    axis.tick_params(axis="x", labelsize=7)


def _shortened(name: str, letters: int, lines: int) -> str:
    """Wrap a name to at most ``lines`` lines, without its middle if it is too long."""
    whole, text = from_literal(name), wrapped(name, letters)
    size = letters * lines
    while text.count("\n") >= lines:
        start = size // 3
        text = wrapped(literal(f"{whole[:start]}…{whole[start + 1 - size :]}"), letters)
        size -= 1
    return text


def label_height(labels: Iterable[str]) -> float:
    """Return the height in inches of the tallest of some wrapped labels, including the space to the next one."""
    return 0.17 * max(label.count("\n") + 1 for label in labels)


def read_curves(figure: Figure) -> list[dict[str, Any]]:
    """Return every named point and bar of a figure, for the values that the page shows on hover.

    One entry per line or set of bars with a name: ``label`` and ``points``, each [x, y, place, value]. x and y are
    fractions of the image from its top left; place is the text of the axis, empty if it equals the label.
    """
    with matplotlib.rc_context(SETTINGS):
        figure.set_dpi(RESOLUTION)
        figure.draw_without_rendering()  # computes the layout, as for the PNG
    width, height = figure.bbox.width, figure.bbox.height
    curves = []
    # Axes without ticks, the panels of Figure 3, have no values.
    for axis in (axis for axis in figure.axes if len(axis.get_xticks()) and len(axis.get_yticks())):
        for label, line_points in _named_points(axis):
            at = axis.transData.transform(line_points).tolist() if line_points else []
            points = [
                [round(x / width, 4), round(1 - y / height, 4), _place(axis, place, label), f"{value:.4g}"]
                for (place, value), (x, y) in zip(line_points, at, strict=True)
            ]
            curves.append({"label": from_literal(label), "points": points})
    return [curve for curve in curves if curve["points"]]


def _named_points(axis: Axes) -> Iterable[tuple[str, list[tuple[float, float]]]]:
    """Yield name and points, in data units, of every named line and set of vertical bars."""
    for line in axis.lines:
        if not str(line.get_label()).startswith("_"):
            points = np.column_stack([np.asarray(values, float) for values in line.get_data()])
            yield str(line.get_label()), [(x, y) for x, y in points.tolist() if isfinite(x) and isfinite(y)]
    for bars in axis.containers:
        if isinstance(bars, BarContainer) and not str(bars.get_label()).startswith("_"):
            tops = [(bar.get_x() + bar.get_width() / 2, bar.get_y() + bar.get_height()) for bar in bars.patches]
            yield str(bars.get_label()), [(x, y) for x, y in tops if isfinite(x) and isfinite(y)]


def _place(axis: Axes, x: float, label: str) -> str:
    """Return the place of a point: the nearest tick's text if ticks have fixed texts, else x; empty if it is label."""
    if isinstance(axis.xaxis.get_major_locator(), FixedLocator):
        ticks = zip(axis.get_xticks(), axis.get_xticklabels(), strict=True)
        _distance, name = min((abs(tick - x), text.get_text()) for tick, text in ticks)
        if "".join(name.split()) == "".join(label.split()):
            return ""
    else:
        name = f"{x:.4g}"
    # Only the lowest panel of a column names the common axis.
    named = {other.get_xlabel() for other in axis.figure.axes if other.get_xlabel()}
    axis_name = axis.get_xlabel() or (named.pop() if len(named) == 1 else "")
    return from_literal(" ".join(filter(None, (axis_name.split(" (")[0], name))))


def save_figure(figure: Figure, data: pd.DataFrame, stem: str | Path) -> None:
    """Write a figure as ``{stem}.png`` and ``.pdf``, without dates or versions, and its data as ``.csv``."""
    metadata = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Creator": None, "Producer": None}}
    with matplotlib.rc_context(SETTINGS):
        for suffix, without in metadata.items():
            with atomic_path(f"{stem}.{suffix}") as temporary:
                figure.savefig(temporary, format=suffix, metadata=without, dpi=RESOLUTION, facecolor="white")
    write_text(f"{stem}.csv", data.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
