"""Scores and predictions of trained systems on the test splits, under every condition (SPEC 5.4, 6.1)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from nmer.files import write_gzip, write_text
from nmer.metrics import measure_scores, score
from nmer.names import MEDIAN, PREDICTION, noisy_modalities
from nmer.plan.conditions import test_items, tested_conditions
from nmer.plan.settings import EvaluationSettings
from nmer.snr_column import with_snr
from nmer.systems.blocks.encodings import select
from nmer.systems.interface import System
from nmer.training.data import FoldData
from nmer.training.inference import classify, encode, encoded_at_once, logits


def predict(system: System, data: FoldData, settings: EvaluationSettings, fold: int, repeat: int) -> pd.DataFrame:
    """Predictions of one repeat on one fold's test split: a row per utterance and condition.

    Settings without a noise kind ask for clean features alone.
    """
    rows = data.splits["test"]
    utterances = [data.ids[row] for row in rows.tolist()]
    conditions = tested_conditions(settings.system, settings.noise is not None, data.modalities, settings.conditions)
    system.eval()
    states = range(1 if settings.noise is None else 2)
    labels = data.labels.cpu().numpy()
    outputs = classify if data.scores is None else logits
    items = test_items(conditions, settings.evaluation, settings.dataset, utterances, data.modalities)
    predicted: dict[str, list[np.ndarray]] = {condition: [] for condition in items}
    # A part of the utterances at a time: encodings may be sequences, which are large.
    size = encoded_at_once(data.device)
    for start in range(0, len(rows), size):
        own_rows = rows[start : start + size]
        encodings = {
            modality: [encode(system, data, modality, own_rows, torch.full_like(own_rows, state)) for state in states]
            for modality in system.modalities
        }
        for condition, positions in items.items():
            here = torch.from_numpy(positions[(start <= positions) & (positions < start + size)] - start)
            here = here.to(data.device)
            corrupted = noisy_modalities(condition, data.modalities)
            noisy = {m: m in corrupted for m in system.modalities}
            shown = {m: select(own[int(noisy[m])], here) for m, own in encodings.items()}
            flags = {m: torch.full((len(here),), noisy[m], device=data.device) for m in noisy}
            predicted[condition].append(outputs(system, shown, flags).cpu().numpy())
    parts = []
    for condition, positions in items.items():
        chosen = torch.from_numpy(positions).to(data.device)
        tested = rows[chosen].cpu().numpy()
        part = pd.DataFrame(
            {
                "utterance": [utterances[position] for position in positions],
                "condition": condition,
                "fold": fold,
                "repeat": repeat,
                "label": (labels if data.scores is None else data.scores)[tested],
            }
        )
        columns = np.concatenate(predicted[condition])
        if data.scores is None:
            part[[f"prob_{name}" for name in data.classes]] = columns
        else:
            part[[PREDICTION, MEDIAN]] = with_median(columns[:, 0], data.scores[data.training_rows])
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def with_median(predicted: np.ndarray, training: np.ndarray) -> np.ndarray:
    """The columns PREDICTION and MEDIAN of predicted scores (n,). training: scores of the training split."""
    return np.stack([predicted, np.full(len(predicted), np.median(training))], axis=1)


def write_evaluation(
    predictions: pd.DataFrame, settings: EvaluationSettings, scores_to: Path, predictions_to: Path
) -> None:
    """Write the predictions of an evaluation (CSV, gzip) and the scores that follow from them (CSV)."""
    scores = score_predictions(predictions, settings)
    # Nine digits identify a float32, so that scores recomputed from the file are exact. Labels of scores keep theirs.
    written: dict[str, Any] = {"float_format": "%.9g"}
    if PREDICTION in predictions:
        predictions = predictions.assign(**{PREDICTION: predictions[PREDICTION].map("{:.9g}".format)})
        written = {}
    write_gzip(predictions_to, predictions.to_csv(index=False, lineterminator="\n", **written))
    write_text(scores_to, scores.to_csv(index=False, lineterminator="\n"))


def score_predictions(predictions: pd.DataFrame, settings: EvaluationSettings) -> pd.DataFrame:
    """Tidy scores, a row per condition, fold, repeat and metric. n: utterances scored."""
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
