"""Draw lines and bars per system and noise level into the panels of figures. Not for choosing the data."""

from __future__ import annotations

import itertools

import pandas as pd
from matplotlib.axes import Axes

from nmer.names import REFERENCE_SYSTEM
from nmer.results.drawn_text import drawn_system
from nmer.results.noise_levels import level_of
from nmer.results.reading import rows_of
from nmer.results.style import SystemStyle, name_places
from nmer.results.wording import decibels

CHANCE_COLOR = "#333333"
BAR_PANEL = 3.0
"""Width in inches of a panel with bars."""


def draw_chance(axis: Axes, curves: pd.DataFrame, name_ends: float = 1) -> None:
    """Draw a dotted line at the chance level of a panel. curves: column ``chance``, missing where unknown.

    name_ends: where the name of the line ends, as a fraction of the panel's width from the left.
    """
    for level in curves["chance"].dropna().unique():
        axis.axhline(level, color=CHANCE_COLOR, linestyle=(0, (1, 2)), linewidth=1, zorder=1)
        axis.annotate(
            "chance",
            (name_ends, level),
            xycoords=("axes fraction", "data"),
            xytext=(-1, 1),
            textcoords="offset points",
            ha="right",
            fontsize=6.5,
            color=CHANCE_COLOR,
        )


def draw_clean(axis: Axes, curves: pd.DataFrame, styles: dict[str, SystemStyle]) -> None:
    """Draw a dash-dotted line at each system's score on clean data. curves: columns ``system`` and ``clean``."""
    clean = curves.groupby("system", sort=False)["clean"].first().dropna()
    # Lines at the same height have one label.
    for _height, systems in clean.groupby(clean.round(3), sort=False):
        level, color = systems.iloc[0], styles[str(systems.index[0])].color
        axis.axhline(level, color=color, linestyle="-.", linewidth=1, zorder=1)
        axis.annotate(
            ", ".join([*map(drawn_system, map(str, systems.index)), "clean"]),
            (0, level),
            xycoords=("axes fraction", "data"),
            xytext=(2, 1),
            textcoords="offset points",
            fontsize=6.5,
            color=color,
        )


def draw_bars(axis: Axes, curves: pd.DataFrame, styles: dict[str, SystemStyle]) -> None:
    """Draw a bar per system and its interval. curves: one row per system, columns system, value, low and high."""
    for place, (system, style) in enumerate(styles.items()):
        for row in rows_of(curves[curves["system"] == system]):
            axis.bar([place], [row.value], width=0.6, color=style.color, alpha=0.55, label=drawn_system(system))
            axis.plot([place, place], [row.low, row.high], color="#000000", linewidth=1.2)
    name_places(axis, list(map(drawn_system, styles)), BAR_PANEL)
    axis.set_xlim(-0.6, len(styles) - 0.4)
    # A correlation may be below 0.
    axis.set_ylim(bottom=min(0.0, *curves["value"].dropna(), *curves["low"].dropna()) if len(curves) else 0.0)


def draw_curves(axis: Axes, curves: pd.DataFrame, styles: dict[str, SystemStyle], places: list[float]) -> None:
    """Draw a line per system, noise growing to the right, and a bar per interval.

    curves: columns system, snr_db, rate, value and, for bars, low and high; in the order of ``places``, all levels of
    the axis, least noise first: SNRs in dB, falling, or rates, rising. styles: of every system of the figure, so that
    each keeps its place.
    """
    step = min((abs(high - low) for high, low in itertools.pairwise(places)), default=10)
    rightwards = 1 if places[-1] > places[0] else -1
    for index, (system, style) in enumerate(styles.items()):
        line = curves[curves["system"] == system]
        if line.empty:
            continue
        # Offset the systems slightly around their SNR, so that no bar hides another.
        apart = min(0.05 * step, 0.5, 0.3 * step / max(len(styles) - 1, 1))
        x = level_of(line) + rightwards * (index - (len(styles) - 1) / 2) * apart
        if "low" in line:
            # Draw the interval from end to end, because it need not contain the value.
            middle, half = (line["low"] + line["high"]) / 2, (line["high"] - line["low"]) / 2
            axis.errorbar(x, middle, yerr=half, fmt="none", ecolor=style.color, elinewidth=1.2, capsize=2)
        axis.plot(
            x,
            line["value"],
            color=style.color,
            marker=style.marker,
            linestyle=style.dash,
            linewidth=2 if system == REFERENCE_SYSTEM else 1.2,
            markersize=5,
            label=drawn_system(system),
        )
    axis.set_xticks(places, [decibels(level).removesuffix(" dB") for level in places])
    margin = rightwards * min(step / 2, 5)
    axis.set_xlim(places[0] - margin, places[-1] + margin)
