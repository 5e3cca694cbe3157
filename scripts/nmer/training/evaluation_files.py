"""The files of an evaluation: predictions per utterance, and their scores. Does not import torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nmer.files import write_gzip, write_text
from nmer.metrics import measure_scores, score
from nmer.names import PREDICTION
from nmer.plan.settings import EvaluationSettings
from nmer.snr_column import with_snr


def with_median(predicted: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Return the columns PREDICTION and MEDIAN for predicted scores (n,). training: scores of the training split."""
    return np.stack([predicted, np.full(len(predicted), np.median(training))], axis=1)


def write_evaluation(
    predictions: pd.DataFrame, settings: EvaluationSettings, scores_to: Path, predictions_to: Path
) -> None:
    """Write the predictions of an evaluation (CSV, gzip) and their scores (CSV)."""
    scores = score_predictions(predictions, settings)
    # Nine digits identify a float32, so scores recomputed from the file are exact. Score labels keep all digits.
    number_format: dict[str, Any] = {"float_format": "%.9g"}
    if PREDICTION in predictions:
        predictions = predictions.assign(**{PREDICTION: predictions[PREDICTION].map("{:.9g}".format)})
        number_format = {}
    write_gzip(predictions_to, predictions.to_csv(index=False, lineterminator="\n", **number_format))
    write_text(scores_to, scores.to_csv(index=False, lineterminator="\n"))


def score_predictions(predictions: pd.DataFrame, settings: EvaluationSettings) -> pd.DataFrame:
    """Return tidy scores: one row per condition, fold, repeat and metric. Column n: number of utterances."""
    columns = [name for name in predictions.columns if name.startswith("prob_")]
    rows = []
    for (condition, fold, repeat), part in predictions.groupby(["condition", "fold", "repeat"], sort=False):
        labels = part["label"].to_numpy()
        if PREDICTION in part:
            scores = measure_scores(labels, part[PREDICTION].to_numpy())
        else:
            scores = score(labels, part[columns].to_numpy().argmax(axis=1), len(columns))
        rows += [
            {
                "dataset": settings.dataset,
                "system": settings.name or settings.system,
                "regime": settings.regime,
                "noise": settings.noise,
                "snr_db": settings.snr_db,
                "condition": condition,
                "fold": fold,
                "repeat": repeat,
                "metric": metric,
                "value": value,
                "n": len(part),
            }
            for metric, value in scores.items()
        ]
    table = with_snr(pd.DataFrame(rows))
    return table.assign(trained_at=settings.trained_at) if settings.trained_at else table
