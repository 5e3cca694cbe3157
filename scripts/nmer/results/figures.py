"""Figure 3 (noise moves utterances in the t-SNE plane) and the robustness curves. Draws; computes only averages."""

from __future__ import annotations

import itertools
import math

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nmer.errors import DataError
from nmer.names import AVERAGE, MODALITIES, MODALITY_LABELS, noise_label, system_label
from nmer.results.printed import decibels, short_title
from nmer.results.scores import average, of_regime
from nmer.results.style import NOISY, ORIGINAL, SETTINGS, SystemStyle, system_styles
from nmer.results.tables import TABLE_METRICS, levels, systems_of

WIDTH = 7.2  # inches, of every figure: a page of text
METRIC_LABELS = {"WA": "WA (weighted accuracy)", "UA": "UA (unweighted accuracy)"}


def read_panels(paths: list[str], key: list[str]) -> pd.DataFrame:
    """One table from the files of several corruptions, least noise first. Raises DataError if one is unreadable."""
    try:
        table = pd.concat([pd.read_csv(path) for path in paths], ignore_index=True)
        table["snr_db"] = table["snr_db"].astype("Int64")
        missing = [column for column in key if column not in table]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{', '.join(paths)}: cannot be read ({error}). Delete and run again.") from None
    if missing:
        raise DataError(f"{', '.join(paths)}: no column {', '.join(missing)}. Delete and run again.")
    order = {"noise": lambda column: column, "snr_db": lambda column: -column}
    return table.sort_values(["noise", "snr_db"], key=lambda c: order[c.name](c), kind="stable", ignore_index=True)


def draw_figure_3(points: pd.DataFrame, distances: pd.DataFrame) -> Figure:
    """One row per corruption, one column per modality: originals, noisy copies, lines between pairs, mean distances.

    points: columns noise, snr_db, modality, kind, utterance, x, y. distances: noise, snr_db, modality (also ``mean``),
    tsne_distance, raw_distance. Source: paper Figure 3, SPEC 6.5.
    """
    panels = points[["noise", "snr_db"]].drop_duplicates().values.tolist()
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(WIDTH, 2.45 * len(panels) + 0.55), layout="constrained")
        axes = figure.subplots(len(panels), len(MODALITIES), squeeze=False)
        for row, (noise, snr_db) in zip(axes, panels, strict=True):
            for axis, modality in zip(row, MODALITIES, strict=True):
                _draw_panel(axis, _panel(points, noise, snr_db, modality))
                axis.set_xlabel(_distance_text(_panel(distances, noise, snr_db, modality)), fontsize=8)
            row[0].set_ylabel(_row_label(noise, snr_db, _panel(distances, noise, snr_db, "mean")))
        for axis, modality in zip(axes[0], MODALITIES, strict=True):
            axis.set_title(MODALITY_LABELS[modality])
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def robustness(scores: pd.DataFrame, settings: dict) -> pd.DataFrame:
    """What the robustness curves show: columns dataset, noise, snr_db, system, metric, mean, std, n (repeats).

    Averages over the six conditions as in Table 2. Kinds without an SNR have no place on the axis and are left out.
    """
    cells = average(of_regime(scores, "six"))
    metrics = settings.get("metrics", list(TABLE_METRICS))
    cells = cells[(cells["condition"] == AVERAGE) & cells["metric"].isin(metrics) & cells["snr_db"].notna()]
    order = {
        "dataset": list(settings["datasets"]),
        "noise": list(settings["snr_db"]),
        "system": systems_of(settings),
        "metric": metrics,
    }
    for column, names in order.items():
        cells = cells[cells[column].isin(names)]
    asked = {(noise, snr_db) for noise in settings["snr_db"] for snr_db in levels(settings, noise)}
    places = zip(cells["noise"], cells["snr_db"], strict=True)
    cells = cells[pd.Series([place in asked for place in places], index=cells.index, dtype=bool)]
    by = ["dataset", "noise", "system", "metric", "snr_db"]
    cells = cells.sort_values(by, key=lambda c: c.map(order[c.name].index) if c.name in order else -c)
    return cells[["dataset", "noise", "snr_db", "system", "metric", "mean", "std", "n"]].reset_index(drop=True)


def draw_robustness(curves: pd.DataFrame, settings: dict) -> Figure:
    """WA and UA against SNR, one row per dataset and noise kind, one line per system, bars: std over repeats.

    curves: as ``robustness`` returns. Noise grows to the right.
    """
    metrics = list(dict.fromkeys(curves["metric"])) or list(TABLE_METRICS)
    rows = list(dict.fromkeys(zip(curves["dataset"], curves["noise"], strict=True)))
    places = sorted({int(snr_db) for snr_db in curves["snr_db"]}, reverse=True)
    styles = system_styles(list(dict.fromkeys(curves["system"])))
    labels = [system_label(system) for system in styles]
    columns = _legend_columns(labels)
    legend_rows = max(math.ceil(len(labels) / columns), 1)
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(WIDTH, 2.6 * max(len(rows), 1) + 0.3 + 0.2 * legend_rows), layout="constrained")
        if not rows:
            figure.text(0.5, 0.5, "No score at an SNR was run in this experiment.", ha="center", va="center")
            return figure
        axes = figure.subplots(len(rows), len(metrics), squeeze=False, sharey="row")
        for row, (dataset, noise) in zip(axes, rows, strict=True):
            for axis, metric in zip(row, metrics, strict=True):
                here = (curves["dataset"] == dataset) & (curves["noise"] == noise) & (curves["metric"] == metric)
                _draw_curves(axis, curves[here], styles, places)
                axis.set_title(
                    f"{short_title(dataset, settings['datasets'][dataset])}, {noise_label(noise)}", loc="left"
                )
                axis.set_ylabel(METRIC_LABELS.get(metric, metric))
                axis.tick_params(labelleft=True)
        for axis in axes[-1]:
            axis.set_xlabel("SNR in dB (more noise to the right)")
        handles = {
            label: handle for axis in axes.flat for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        figure.legend([handles[label] for label in labels], labels, loc="outside lower center", ncols=columns)
    return figure


def _legend_columns(labels: list[str]) -> int:
    """At most four columns of a legend, fewer where a user's long names would run over the figure's edge."""
    widest = 0.6 + 0.075 * max(map(len, labels), default=0)  # inches: line and gaps, and letters of this font size
    return max(min(int(WIDTH / widest), 4), 1)


def _panel(table: pd.DataFrame, noise: str, snr_db: int | None, modality: str) -> pd.DataFrame:
    level = table["snr_db"].isna() if pd.isna(snr_db) else (table["snr_db"] == snr_db).fillna(False)
    return table[(table["noise"] == noise) & level & (table["modality"] == modality)]


def _draw_panel(axis: Axes, points: pd.DataFrame) -> None:
    original, noisy = (points[points["kind"] == kind] for kind in ("original", "noisy"))
    ends = [[before.tolist(), after.tolist()] for before, after in ((original[c], noisy[c]) for c in ("x", "y"))]
    lines = axis.plot(*ends, color="#999999", linewidth=0.4, alpha=0.5, zorder=1)
    if lines:
        lines[0].set_label("pair")
    axis.scatter(
        noisy["x"], noisy["y"], s=16, marker="^", color=NOISY, edgecolors="#5c3d00", linewidths=0.4, label="noisy"
    )
    axis.scatter(original["x"], original["y"], s=9, marker="o", color=ORIGINAL, label="original")
    axis.set(xticks=[], yticks=[], aspect="equal")
    axis.set_adjustable("datalim")
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set(visible=True, color="#bbbbbb")


def _distance_text(distances: pd.DataFrame) -> str:
    row = distances.iloc[0]
    return f"t-SNE distance {row['tsne_distance']:.2f}\nraw distance {row['raw_distance']:.3f}"


def _row_label(noise: str, snr_db: int | None, mean: pd.DataFrame) -> str:
    level = noise_label(noise) if pd.isna(snr_db) else f"{noise_label(noise)}, {decibels(snr_db)}"
    return f"{level}\nmean t-SNE {mean.iloc[0]['tsne_distance']:.2f}, raw {mean.iloc[0]['raw_distance']:.3f}"


def _draw_curves(axis: Axes, curves: pd.DataFrame, styles: dict[str, SystemStyle], places: list[int]) -> None:
    step = min((high - low for high, low in itertools.pairwise(places)), default=10)
    for index, (system, style) in enumerate(styles.items()):
        line = curves[curves["system"] == system]
        if line.empty:
            continue
        # Systems stand a little beside each other, so that no error bar hides another; together they stay at their SNR.
        apart = min(0.05 * step, 0.5, 0.3 * step / max(len(styles) - 1, 1))
        shift = ((len(styles) - 1) / 2 - index) * apart
        axis.errorbar(
            line["snr_db"].astype("float64") + shift,
            line["mean"],
            yerr=line["std"].fillna(0),
            color=style.color,
            marker=style.marker,
            linestyle=style.dash,
            linewidth=2 if system == "nmer" else 1.2,
            markersize=5,
            capsize=2,
            label=system_label(system),
        )
    axis.set_xticks(places, [decibels(snr_db).removesuffix(" dB") for snr_db in places])
    margin = min(step / 2, 5)
    axis.set_xlim(places[0] + margin, places[-1] - margin)
