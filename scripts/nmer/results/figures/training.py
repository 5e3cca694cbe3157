"""Training curves: how the validation score and the training loss went, epoch by epoch, with little and much noise."""

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
from nmer.results.labels import system_label
from nmer.results.scores import of_regime
from nmer.results.selection import by_level, of_dataset, outermost, outermost_levels, select
from nmer.results.style import SETTINGS, WIDTH, SystemStyle, legend_below, legend_height, sentence_figure, system_styles
from nmer.results.wording import level_title
from nmer.snr_column import with_snr

COLUMNS = ("dataset", "noise", "snr_db", "system", "quantity", "epoch", "mean", "low", "high", "n", "chance")
QUANTITIES = {"val_UA": "validation UA", "val_MAE": "validation MAE", "loss": "training loss"}
"""Columns of a history and what they are called. The validation score of the experiment's target is what selects the
epoch that is tested by default."""

MARKERS = 6  # on each curve, spread over the epochs
_HISTORY = {"repeat": "Int64", "epoch": "Int64"}


@figure(
    "training",
    position=6,
    per_dataset=True,
    sources=("histories", "chance", "settings"),
    reads=("rates",),
    title="Training",
    caption=(
        "Validation UA, of a score target MAE, which selects the epoch by default, and training loss per epoch, "
        "reference noise at its mildest and hardest level. Lines: mean over folds and repeats; bands: lowest to "
        "highest. With early "
        "stopping, an epoch shows the "
        "trainings that reached it (column n of the data). Losses have other terms in each "
        "system: compare their course, not their height. A system trained clean is the same in both columns. Dotted: "
        "chance; a curve that is still on it has not begun to learn."
    ),
    alternative="Line charts of the validation score and the training loss against the epoch.",
)
def draw(dataset: str, histories: list[Path], chance: Path, settings: ReportSettings) -> Drawn:
    """The figure and its data from the histories of an experiment."""
    curves = training_curves(read_histories(histories, settings), settings, dataset, read_trainings(chance))
    return Drawn(curves, draw_training(curves))


def read_histories(paths: Iterable[str | Path], settings: ReportSettings) -> pd.DataFrame:
    """One row per run, repeat and epoch, with what the figure shows (:func:`nmer.results.histories.read_histories`)."""
    return written.read_histories(paths, settings, _HISTORY | dict.fromkeys(_quantities(settings), "float64"))


def training_curves(
    histories: pd.DataFrame, settings: ReportSettings, dataset: str, trainings: pd.DataFrame | None = None
) -> pd.DataFrame:
    """What the figure shows, columns COLUMNS: mean, lowest and highest of the n runs (folds and repeats) of an epoch.

    histories: as :func:`read_histories` gives them. Systems are those trained for incomplete conditions under the
    reference noise at its outermost levels; one trained on clean data alone has one training, and stands at both.
    chance: of the validation UA, from ``trainings`` (verdicts of ``nmer.results.chance``); else missing. That of MAE is
    known for the test split alone, and is missing too.
    Raises ConfigError for an unknown dataset.
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
    """The validation score above, training loss below, one column per noise level; lines and bands from low to high.

    curves: as :func:`training_curves` returns.
    """
    if curves.empty:
        return sentence_figure("No multimodal system was trained in this experiment.")
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
        if (loss["low"] > 0).all():
            axes[-1][0].set_yscale("log")
        legend_below(figure, styles)
    return figure


def _quantities(settings: ReportSettings) -> list[str]:
    """The columns of a history that are shown: the validation score of the target, and the loss."""
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
            # Apart from each other, so that lines on top of each other are told apart.
            markevery=(index * every // len(styles), every),
            markersize=4.5,
            linestyle=style.dash,
            linewidth=2 if system == REFERENCE_SYSTEM else 1.2,
            label=system_label(system),
        )
