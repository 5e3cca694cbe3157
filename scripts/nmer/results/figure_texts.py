"""What the report says of each figure: title, caption, and words for those who cannot see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from nmer.results.class_labels import legend
from nmer.results.labels import system_label
from nmer.results.reading import rows_of
from nmer.results.wording import level_title, short_title

TITLES = {
    "robustness": "Robustness",
    "ranks": "Ranks",
    "conditions": "Conditions",
    "recall": "Recall per class",
    "confusion": "Confusion",
    "training": "Training",
    "figure3": "Figure 3",
    "calibration": "Calibration",
}
CAPTIONS = {
    "robustness": (
        "WA and UA, averaged over the six conditions, against the SNR. Bars: 95 % intervals. Dotted: chance, what a "
        "constant prediction attains (UA: 1 / classes; WA: the share of the largest class)."
    ),
    "ranks": (
        "Average ranks, 1 is best, and Nemenyi's critical difference. A bar joins systems whose ranks differ by less:"
        " the data do not tell them apart."
    ),
    "conditions": (
        "WA (upper number and shade) and UA (lower number) of every system in each condition, named by its clean "
        "modalities, and on average. “none”: trained and tested with all modalities noisy (MEN: trained clean). "
        "†: a training is at chance there. Dotted on the scale: WA of the largest class."
    ),
    "recall": "Recall of every class against the SNR, mean over the six conditions.",
    "confusion": (
        "Percent of each true class that is taken for each class, mean over the six conditions, reference noise at "
        "its mildest and hardest level. The diagonal is the recall."
    ),
    "training": (
        "Validation UA, which selects the epoch, and training loss per epoch, reference noise at its mildest and "
        "hardest level. Lines: mean over folds and repeats; bands: lowest to highest. Losses have other terms in each"
        " system: compare their course, not their height. A system trained clean is the same in both columns. Dotted: "
        "chance; a curve that is still on it has not begun to learn."
    ),
    "figure3": (
        "Original and noisy test utterances in one t-SNE plane per modality and noise level. Lines join an utterance "
        "with its noisy copy; below each panel stands their mean length. Raw distances are per dimension of the "
        "feature space and comparable across panels, t-SNE distances are not strictly so."
    ),
    "calibration": (
        "SNR against T, the steps of the noise schedule, for every modality. Marks are the chosen levels, dotted "
        "lines the SNRs that were asked for."
    ),
}


def figure_texts(name: str, data: pd.DataFrame, settings: dict[str, Any]) -> tuple[str, str, str]:
    """Title, caption and alternative text. name: a kind, or a kind and a dataset, e.g. ``figure3_mosei``.

    data: of the figure, as in its CSV. A figure that is not known is called by its name.
    """
    kind, _, dataset = name.partition("_")
    if kind not in TITLES:
        return name, "", f"Figure {name}; its data are in the CSV file linked below."
    about = settings["datasets"].get(dataset, {})
    title = f"{TITLES[kind]}, {short_title(dataset, about)}" if dataset else TITLES[kind]
    numbered = legend(dict.fromkeys(data["label"])) if kind in ("recall", "confusion") and "label" in data else ""
    return title, f"{CAPTIONS[kind]} {numbered}".strip(), _ALTERNATIVES[kind](data)


def _systems(data: pd.DataFrame) -> str:
    return ", ".join(map(system_label, dict.fromkeys(data["system"]))) or "no system"


def _of_figure_3(data: pd.DataFrame) -> str:
    mean = data[data["modality"] == "mean"].astype({"snr_db": "Int64"})
    steps = [
        f"{level_title(row.noise, row.snr_db)}: t-SNE {row.tsne_distance:.2f}, raw {row.raw_distance:.3f}"
        for row in rows_of(mean)
    ]
    return f"Scatter plots of original and noisy utterances. Mean distances over modalities: {'; '.join(steps)}."


def _of_ranks(data: pd.DataFrame) -> str:
    lines = [
        f"{metric}: " + ", ".join(f"{system_label(row.system)} {row.rank:.2f}" for row in rows_of(part))
        for metric, part in data.groupby("metric", sort=False)
    ]
    return f"Critical-difference diagrams. {'; '.join(lines) or 'Nothing was ranked'}."


_ALTERNATIVES: dict[str, Callable[[pd.DataFrame], str]] = {
    "robustness": lambda data: f"Line charts of WA and UA against the SNR for {_systems(data)}, as in Table 2.",
    "ranks": _of_ranks,
    "conditions": lambda data: f"Heat maps of WA and UA for {_systems(data)}, as in Tables 2, 3 and 5.",
    "recall": lambda data: f"Line charts of recall against the SNR for {_systems(data)}, one for each class.",
    "confusion": lambda data: f"Confusion matrices of {_systems(data)}; the numbers are in the CSV.",
    "training": lambda data: f"Line charts of validation UA and training loss against the epoch for {_systems(data)}.",
    "figure3": _of_figure_3,
    "calibration": lambda data: "Line chart of SNR against T; the chosen levels are those of the calibration table.",
}
