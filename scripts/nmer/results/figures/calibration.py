"""Calibration figure: SNR against T for every modality, with the chosen levels."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nmer.errors import DataError
from nmer.figures import Drawn, figure
from nmer.names import MODALITIES
from nmer.noise.calibration import snr_db
from nmer.noise.schedule import Schedule
from nmer.results.labels import MODALITY_LABELS
from nmer.results.reading import read_csv
from nmer.results.style import SETTINGS
from nmer.snr_column import with_snr

COLUMNS = ("dataset", "modality", "part", "noise", "snr_db", "T", "attained_db")
COLORS = dict(zip(MODALITIES, ("#0072B2", "#D55E00", "#009E73"), strict=True))
FURTHER = 1.15
"""Range of the curves relative to the largest chosen T."""
SHORTEST = 20


@figure(
    "calibration",
    position=8,
    per_dataset=True,
    sources=("calibration", "schedule"),
    title="Calibration",
    caption=(
        "SNR against T, the steps of the noise schedule, for every modality. Markers: chosen levels. Dotted lines: "
        "target SNRs."
    ),
    alternative="Line chart of SNR against T; the chosen levels are those of the calibration table.",
)
def draw(dataset: str, calibration: list[Path], schedule: Schedule) -> Drawn:
    """Draw the figure from the calibration of one dataset."""
    del dataset  # the calibration is that of the dataset
    curves = calibration_curves(pd.concat(map(read_levels, calibration), ignore_index=True), schedule)
    return Drawn(curves, draw_calibration(curves))


def read_levels(path: str | Path) -> pd.DataFrame:
    """Read the collected calibration of one dataset. Raises DataError if the file is not one."""
    try:
        return with_snr(read_csv(path).astype({"T": "Int64"}))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: not a calibration table ({error}). Delete it and run again.") from None


def calibration_curves(levels: pd.DataFrame, schedule: Schedule) -> pd.DataFrame:
    """Return the data of the figure, columns COLUMNS: ``part`` is ``curve``, a row per T, or ``chosen``, one per level.

    levels: the collected calibration of a dataset. Kinds without an SNR are left out. A level that was solved exactly
    (no T) is placed on the curve at a fractional T.
    """
    chosen = levels[levels["attained_db"].notna()]
    most = chosen["T"].max()
    longest = max(SHORTEST, int(FURTHER * (0 if pd.isna(most) else most)))
    longest = min(longest, schedule.chain or longest)
    kept = np.array([schedule.alpha_bar(steps) for steps in range(1, longest + 1)])
    parts = []
    for modality, of_modality in chosen.groupby("modality", sort=False):
        named = {"dataset": of_modality["dataset"].iloc[0], "modality": modality}
        attained = np.array([snr_db(alpha_bar, of_modality["variance"].iloc[0]) for alpha_bar in kept])
        steps = np.arange(1, longest + 1)
        parts.append(pd.DataFrame({**named, "part": "curve", "T": steps.astype(float), "attained_db": attained}))
        # The curve falls with T, but np.interp needs increasing values.
        between = np.interp(-of_modality["attained_db"], -attained, steps)
        placed = of_modality["T"].astype("Float64").fillna(pd.Series(between, of_modality.index)).astype(float)
        parts.append(
            of_modality[["dataset", "modality", "noise", "snr_db", "attained_db"]].assign(part="chosen", T=placed)
        )
    if not parts:
        return pd.DataFrame(columns=list(COLUMNS))
    return with_snr(pd.concat(parts, ignore_index=True).reindex(columns=list(COLUMNS)))


def draw_calibration(curves: pd.DataFrame) -> Figure:
    """Draw a line per modality and a marker per chosen level. curves: from :func:`calibration_curves`."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        if curves.empty:
            figure.text(0.5, 0.5, "No noise with an SNR was run in this experiment.", ha="center", va="center")
            return figure
        axis = figure.subplots()
        for modality, color in COLORS.items():
            here = curves[curves["modality"] == modality]
            if here.empty:
                continue
            line, marks = here[here["part"] == "curve"], here[here["part"] == "chosen"]
            axis.plot(line["T"], line["attained_db"], color=color, label=MODALITY_LABELS[modality])
            axis.plot(marks["T"], marks["attained_db"], "o", color=color, markersize=5)
        for level in sorted(set(curves["snr_db"].dropna())):
            axis.axhline(level, color="#999999", linewidth=0.6, linestyle=":")
        axis.set_xlabel("T, steps of the noise schedule")
        axis.set_ylabel("SNR in dB")
        axis.legend()
    return figure
