"""Shared wording and number formats of tables, figures and the report."""

from __future__ import annotations

import pandas as pd

from nmer.names import ALL_CLEAN, ALL_NOISY, AVERAGE, plain_number
from nmer.report_settings import DatasetSettings
from nmer.results.labels import noise_label, rate_of

ABSENT = "–"
"""Printed if there is no number."""

AT_CHANCE, WA_AT_MAJORITY = "†", "‡"
"""Marks of a cell with a training at chance, and of one whose WA does not exceed the share of the largest class."""

UNDEFINED = "undefined"
"""Mark of a cell with a training whose metric is undefined."""


def short_title(dataset: str, about: DatasetSettings) -> str:
    """Return a dataset's short printed name, for figures and sentences."""
    return f"{dataset} (synthetic)" if about.synthetic else about.paper_name or dataset


def decibels(snr_db: float | None) -> str:
    """Return an SNR as printed, e.g. ``−10 dB``; ``no SNR`` for a kind without one."""
    return "no SNR" if snr_db is None else f"{plain_number(snr_db)} dB".replace("-", "−")


def condition_title(condition: str) -> str:
    """Return a condition, or the average over several, as printed in a sentence."""
    titles = {AVERAGE: "average of the incomplete conditions", ALL_NOISY: "all modalities noisy", ALL_CLEAN: "clean"}
    return titles.get(condition, f"condition {condition}")


def level_label(noise: str, snr_db: float | None) -> str:
    """Return the level of a noise as printed: ``−10 dB``, ``rate 0.3``, or ``no SNR`` for a kind without a level."""
    rate = rate_of(noise)
    return decibels(None if pd.isna(snr_db) else snr_db) if rate is None else f"rate {plain_number(rate)}"


def level_title(noise: str, snr_db: float | None) -> str:
    """Return a noise kind with its level, if it has one, e.g. ``Gaussian, −10 dB`` or ``drop frames, rate 0.3``."""
    return f"{noise_label(noise)}, {level_label(noise, snr_db)}" if has_level(noise, snr_db) else noise_label(noise)


def has_level(noise: str, snr_db: float | None) -> bool:
    """Whether a noise has a level: an SNR or a rate."""
    return not pd.isna(snr_db) or rate_of(noise) is not None


def signed(difference: float, digits: int = 4) -> str:
    """Return a difference as printed, with its sign, e.g. ``−0.0123``."""
    # Adding zero turns a rounded -0.0 into 0.0.
    return f"{round(difference, digits) + 0.0:+,.{digits}f}".replace("-", "−")


def dataset_title(dataset: str, about: DatasetSettings) -> str:
    """Return a dataset's printed name, which marks synthetic data."""
    if about.synthetic and about.paper_name:
        return f"{dataset} (synthetic; in place of {about.paper_name})"
    return short_title(dataset, about)
