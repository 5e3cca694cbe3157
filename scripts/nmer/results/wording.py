"""Words and numbers as tables, figures and the report print them: one way everywhere."""

from __future__ import annotations

import pandas as pd

from nmer.names import ALL_CLEAN, ALL_NOISY, AVERAGE, plain_number
from nmer.report_settings import DatasetSettings
from nmer.results.labels import noise_label

ABSENT = "–"
"""Printed where there is no number."""

AT_CHANCE, WA_AT_MAJORITY = "†", "‡"
"""Signs of a cell with a training at chance, and of one whose WA is not above the share of the largest class."""

UNDEFINED = "undefined"
"""Mark of a cell with a training whose metric is undefined."""


def short_title(dataset: str, about: DatasetSettings) -> str:
    """A dataset's printed name where room is scarce: in a figure, in a sentence."""
    return f"{dataset} (synthetic)" if about.synthetic else about.paper_name or dataset


def decibels(snr_db: float | None) -> str:
    """An SNR as printed, e.g. ``−10 dB``; ``no SNR`` for a kind without one."""
    return "no SNR" if snr_db is None else f"{plain_number(snr_db)} dB".replace("-", "−")


def condition_title(condition: str) -> str:
    """A condition, or what is averaged over several, as printed in a sentence."""
    titles = {AVERAGE: "average of the incomplete conditions", ALL_NOISY: "all modalities noisy", ALL_CLEAN: "clean"}
    return titles.get(condition, f"condition {condition}")


def level_title(noise: str, snr_db: float | None) -> str:
    """A noise kind at a level as a panel's title, e.g. ``Gaussian, −10 dB``; alone where it has no SNR."""
    return noise_label(noise) if pd.isna(snr_db) else f"{noise_label(noise)}, {decibels(snr_db)}"


def signed(difference: float, digits: int = 4) -> str:
    """A difference as printed, with its sign, e.g. ``−0.0123``."""
    # Adding zero turns a rounded -0.0 into 0.0: a difference that prints as nothing has no sign to lose.
    return f"{round(difference, digits) + 0.0:+,.{digits}f}".replace("-", "−")


def dataset_title(dataset: str, about: DatasetSettings) -> str:
    """A dataset's printed name; a synthetic one says so."""
    if about.synthetic and about.paper_name:
        return f"{dataset} (synthetic; in the place of {about.paper_name})"
    return short_title(dataset, about)
