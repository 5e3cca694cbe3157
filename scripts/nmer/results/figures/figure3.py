"""Figure 3: original and noisy utterances in the t-SNE plane at every level. Computes nothing."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nmer.errors import DataError
from nmer.figures import Drawn, figure
from nmer.names import modality_set
from nmer.results.labels import MODALITY_LABELS
from nmer.results.reading import read_csv, rows_of
from nmer.results.style import NOISY, ORIGINAL, SETTINGS, WIDTH
from nmer.results.wording import level_title
from nmer.snr_column import snr_typed

POINTS = ["dataset", "noise", "snr_db", "modality", "kind", "utterance", "x", "y"]
DISTANCES = ["dataset", "noise", "snr_db", "modality", "samples", "tsne_distance", "raw_distance"]


@figure(
    "figure3",
    position=7,
    per_dataset=True,
    sources=("points", "distances"),
    title="Figure 3",
    caption=(
        "Original and noisy test utterances in one t-SNE plane per modality and noise level. Lines join an utterance "
        "and its noisy copy; their mean length is below each panel. Raw distances are per dimension of the feature "
        "space and comparable across panels; t-SNE distances are not strictly comparable."
    ),
    alternative="Scatter plots of original and noisy utterances.",
)
def draw(dataset: str, points: list[Path], distances: list[Path]) -> Drawn:
    """Draw the figure from the panels of one dataset; its data are the distances."""
    del dataset  # the panels are those of the dataset
    lengths = read_panels(distances, DISTANCES)
    return Drawn(lengths[DISTANCES], draw_figure_3(read_panels(points, POINTS), lengths), spoken=_spoken(lengths))


def read_panels(paths: list[Path], key: list[str]) -> pd.DataFrame:
    """Read the files of several corruptions into one table, least noise first. Raises DataError if unreadable."""
    try:
        table = pd.concat([read_csv(path) for path in paths], ignore_index=True)
        table["snr_db"] = snr_typed(table["snr_db"])
        missing = [column for column in key if column not in table]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{', '.join(map(str, paths))}: cannot be read ({error}). Delete and run again.") from None
    if missing:
        raise DataError(f"{', '.join(map(str, paths))}: no column {', '.join(missing)}. Delete and run again.")

    def order(column: pd.Series) -> pd.Series:
        return -column if column.name == "snr_db" else column

    return table.sort_values(["noise", "snr_db"], key=order, kind="stable", ignore_index=True)


def draw_figure_3(points: pd.DataFrame, distances: pd.DataFrame) -> Figure:
    """Draw a row per corruption and a column per modality: originals, noisy copies, lines between pairs, distances.

    points: columns noise, snr_db, modality, kind, utterance, x, y. distances: noise, snr_db, modality (also ``mean``),
    tsne_distance, raw_distance. Source: paper Figure 3, SPEC 6.5.
    """
    panels = points[["noise", "snr_db"]].drop_duplicates().values.tolist()
    modalities = modality_set(points["modality"].unique())
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(WIDTH, 2.45 * len(panels) + 0.55), layout="constrained")
        axes = figure.subplots(len(panels), len(modalities), squeeze=False)
        for row, (noise, snr_db) in zip(axes, panels, strict=True):
            for axis, modality in zip(row, modalities, strict=True):
                _draw_panel(axis, _panel(points, noise, snr_db, modality))
                axis.set_xlabel(_distance_text(_panel(distances, noise, snr_db, modality)), fontsize=8)
            row[0].set_ylabel(_row_label(noise, snr_db, _panel(distances, noise, snr_db, "mean")))
        for axis, modality in zip(axes[0], modalities, strict=True):
            axis.set_title(MODALITY_LABELS[modality])
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _spoken(distances: pd.DataFrame) -> str:
    steps = [
        f"{level_title(row.noise, row.snr_db)}: t-SNE {row.tsne_distance:.2f}, raw {row.raw_distance:.3f}"
        for row in rows_of(distances[distances["modality"] == "mean"])
    ]
    return f"Mean distances over modalities: {'; '.join(steps)}."


def _panel(table: pd.DataFrame, noise: str, snr_db: float | None, modality: str) -> pd.DataFrame:
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


def _row_label(noise: str, snr_db: float | None, mean: pd.DataFrame) -> str:
    distances = f"mean t-SNE {mean.iloc[0]['tsne_distance']:.2f}, raw {mean.iloc[0]['raw_distance']:.3f}"
    return f"{level_title(noise, snr_db)}\n{distances}"
