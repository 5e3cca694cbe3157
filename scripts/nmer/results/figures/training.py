"""Training curves: validation score and training loss per epoch, at the mildest and hardest noise level."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nmer.figures import Drawn, figure
from nmer.metrics import SELECTING
from nmer.names import CLEAN, MIXED, REFERENCE_SYSTEM
from nmer.report_settings import ReportSettings
from nmer.results import histories as written
from nmer.results.chance import read_trainings, with_chance
from nmer.results.curves import draw_chance
from nmer.results.drawn_text import drawn_system
from nmer.results.scores import of_regime
from nmer.results.selection import by_level, of_dataset, outermost, outermost_levels, select
from nmer.results.style import SETTINGS, WIDTH, SystemStyle, legend_below, legend_height, sentence_figure, system_styles
from nmer.results.wording import level_title
from nmer.snr_column import with_snr

COLUMNS = ("dataset", "noise", "snr_db", "system", "quantity", "epoch", "mean", "low", "high", "n", "chance")
QUANTITIES = {"val_UA": "validation UA", "val_MAE": "validation MAE", "loss": "training loss"}
"""Columns of a history and their labels. By default, the validation score of the target selects the tested epoch."""

MARKERS = 6  # per curve, spread over the epochs
_HISTORY = {"repeat": "Int64", "epoch": "Int64"}


@figure(
    "training",
    position=6,
    per_dataset=True,
    sources=("histories", "chance", "settings"),
    reads=(),
    title="Training",
    caption=(
        "Validation UA (MAE for score targets), which selects the epoch by default, and training loss per epoch, under "
        "the reference noise at its mildest and hardest level. Lines: mean over folds and repeats; bands: lowest to "
        "highest. With early stopping, an epoch includes only the trainings that reached it (column n of the data). "
        "Losses have different terms in each system, so only their trends can be compared. Their scale is logarithmic, "
        "and linear between −1 and 1 if a loss is negative. A system trained on clean data is the same in both columns."
        " Dotted: chance; a curve on this line has not begun to learn."
    ),
    alternative="Line charts of the validation score and the training loss against the epoch.",
)
def draw(dataset: str, histories: list[Path], chance: Path, settings: ReportSettings) -> Drawn:
    """Draw the figure from the histories of an experiment."""
    curves = training_curves(read_histories(histories, settings), settings, dataset, read_trainings(chance))
    return Drawn(curves, draw_training(curves))


def read_histories(paths: Iterable[str | Path], settings: ReportSettings) -> pd.DataFrame:
    """Read a row per run, repeat and epoch with the plotted columns (:func:`nmer.results.histories.read_histories`)."""
    return written.read_histories(paths, settings, _HISTORY | dict.fromkeys(_quantities(settings), "float64"))


def training_curves(
    histories: pd.DataFrame, settings: ReportSettings, dataset: str, trainings: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return the data of the figure, columns COLUMNS: mean, lowest and highest of n runs (folds, repeats) per epoch.

    histories: from :func:`read_histories`. Systems are those trained for incomplete conditions under the reference
    noise at its mildest and hardest level; one trained on clean data has one training, which is shown at both.
    chance: of the validation UA, from ``trainings`` (verdicts of ``nmer.results.chance``); otherwise missing. Chance of
    MAE is known only for the test split, and is also missing. Raises ConfigError for an unknown dataset.
    """
    own = of_regime(of_dataset(histories, settings, dataset), "incomplete")
    anywhere = (own["regime"] == "clean") | own["noise"].isin((MIXED, CLEAN))
    clean = own[anywhere]
    at_levels = [
        clean.assign(noise=noise, snr_db=pd.array([level] * len(clean), dtype="Float64"))
        for noise, level in outermost_levels(settings)
    ]
    every = with_snr(pd.concat([own[~anywhere], *at_levels], ignore_index=True))
    key = ["dataset", "noise", "snr_db", "system", "quantity", "epoch"]
    tidy = every.melt([*key[:4], "epoch"], _quantities(settings), var_name="quantity")
    cells = tidy.groupby(key, dropna=False)["value"].agg(mean="mean", low="min", high="max", n="size").reset_index()
    cells = with_chance(cells.assign(metric=cells["quantity"].map({"val_UA": "UA"})), trainings)
    order = {
        "corruption": outermost(settings),
        "quantity": _quantities(settings),
        "system": settings.multimodal_systems,
        "epoch": sorted(set(cells["epoch"])),
    }
    return select(cells, order)[list(COLUMNS)]


def draw_training(curves: pd.DataFrame) -> Figure:
    """Draw the validation score above the training loss, with a column per noise level; bands from lowest to highest.

    curves: from :func:`training_curves`.
    """
    if curves.empty:
        return sentence_figure("This experiment has no training of a multimodal system.")
    panels, quantities = by_level(curves), list(dict.fromkeys(curves["quantity"]))
    styles = system_styles(list(dict.fromkeys(curves["system"])))
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(WIDTH, 4.9 + legend_height(styles)), layout="constrained")
        axes = figure.subplots(len(quantities), len(panels), squeeze=False, sharex=True, sharey="row")
        for column, (noise, snr_db, here) in zip(axes.T, panels, strict=True):
            for axis, quantity in zip(column, quantities, strict=True):
                _draw_runs(axis, here[here["quantity"] == quantity], styles)
                draw_chance(axis, here[here["quantity"] == quantity])
            column[0].set_title(level_title(noise, snr_db), loc="left")
            column[-1].set_xlabel("epoch")
            column[-1].xaxis.get_major_locator().set_params(integer=True)
        for row, quantity in zip(axes, quantities, strict=True):
            row[0].set_ylabel(QUANTITIES[quantity])
        loss = curves[curves["quantity"] == "loss"]
        # A loss with negative terms, such as EMT-DLFR's, would otherwise hide every curve but that of the largest.
        if (loss["low"] > 0).all():
            axes[-1][0].set_yscale("log")
        else:
            axes[-1][0].set_yscale("symlog", linthresh=1)
        legend_below(figure, styles)
    return figure


def _quantities(settings: ReportSettings) -> list[str]:
    """Return the plotted columns of a history: the validation score of the target, and the loss."""
    return [f"val_{SELECTING[settings.target]}", "loss"]


def _draw_runs(axis: Axes, curves: pd.DataFrame, styles: dict[str, SystemStyle]) -> None:
    for index, (system, style) in enumerate(styles.items()):
        line = curves[curves["system"] == system]
        if line.empty:
            continue
        epochs = line["epoch"].astype("int64")
        axis.fill_between(epochs, line["low"], line["high"], color=style.color, alpha=0.15, linewidth=0)
        every = max(len(line) // MARKERS, 1)
        axis.plot(
            epochs,
            line["mean"],
            color=style.color,
            marker=style.marker,
            # Offset the markers of each line, so that overlapping lines can be distinguished.
            markevery=(index * every // len(styles), every),
            markersize=4.5,
            linestyle=style.dash,
            linewidth=2 if system == REFERENCE_SYSTEM else 1.2,
            label=drawn_system(system),
        )
