"""Reference rows trained and tested: mean-pooled features, the conditions and splits of the systems, no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from nmer.corpora.store import FeatureStore
from nmer.metrics import SCORE
from nmer.names import ALL_NOISY, MEDIAN, PREDICTION, SPLITS, incomplete_conditions
from nmer.plan.conditions import noisy_flags, test_items, tested_conditions, validation_items
from nmer.plan.settings import EvaluationSettings
from nmer.references.registry import Examples, Reference
from nmer.training.evaluation_files import with_median
from nmer.training.stored_arrays import noisy_values


def predict_reference(
    train: Reference, features: Path, noisy: Path, settings: EvaluationSettings, threads: int = 1
) -> pd.DataFrame:
    """Train on every fold and predict its test split: a row per utterance and condition, as an evaluation writes them.

    Every training utterance is shown under each incomplete condition, or with all modalities noisy. threads: of the
    CPU; their number changes last digits. Raises DataError
    if a file is damaged or the two do not belong together.
    """
    parts = []
    with threadpool_limits(threads), FeatureStore(features) as store:
        pooled = _pooled(store, noisy)
        for fold in settings.folds:
            parts += _predict_fold(train, store, pooled, settings, fold)
    return pd.concat(parts, ignore_index=True)


def _predict_fold(
    train: Reference, store: FeatureStore, pooled: list[np.ndarray], settings: EvaluationSettings, fold: int
) -> list[pd.DataFrame]:
    rows, labels = store.fold(fold), store.labels
    names = {split: [store.ids[row] for row in rows[split]] for split in SPLITS}

    def examples(split: str, condition: str, positions: np.ndarray) -> Examples:
        chosen = rows[split][positions]
        return Examples(_under(pooled, noisy_flags(condition, store.modalities), chosen), labels[chosen])

    trained_on = incomplete_conditions(store.modalities) if settings.regime == "incomplete" else (ALL_NOISY,)
    shown = [examples("train", condition, np.arange(len(rows["train"]))) for condition in trained_on]
    stacked = Examples(
        np.concatenate([each.features for each in shown]), np.concatenate([each.labels for each in shown])
    )
    items = validation_items(settings.regime, settings.evaluation, settings.dataset, names["val"], store.modalities)
    validation = [examples("val", condition, positions) for condition, positions in items.items() if len(positions)]
    predictor = train(stacked, validation, len(store.classes))
    parts = []
    conditions = tested_conditions(settings.system, True, store.modalities, settings.conditions)
    of_test = test_items(conditions, settings.evaluation, settings.dataset, names["test"], store.modalities)
    for condition, positions in of_test.items():
        if not len(positions):
            continue
        tested = examples("test", condition, positions)
        about = {"utterance": [names["test"][position] for position in positions], "condition": condition}
        part = pd.DataFrame(about | {"fold": fold, "repeat": 1, "label": tested.labels})
        predicted = predictor(tested.features).astype(np.float32)
        if store.target == SCORE:
            part[[PREDICTION, MEDIAN]] = with_median(predicted, labels[rows["train"]])
        else:
            part[[f"prob_{name}" for name in store.classes]] = predicted
        parts.append(part)
    return parts


def _pooled(store: FeatureStore, noisy: Path) -> list[np.ndarray]:
    """Means over each utterance's frames, (utterances, width) for all modalities: clean, and noisy."""
    states: tuple[list[np.ndarray], list[np.ndarray]] = [], []
    for modality in store.modalities:
        values, offset = store.values(modality), store.offset(modality)
        for state, frames in zip(states, (values[()], noisy_values(noisy, modality, values.shape)), strict=True):
            state.append(np.add.reduceat(frames, offset[:-1], axis=0) / np.diff(offset)[:, None])
    return [*states[0], *states[1]]


def _under(pooled: list[np.ndarray], noisy: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The modalities of some utterances side by side. noisy: (modalities,) bool, which of them are noisy."""
    chosen = [position + len(noisy) * int(is_noisy) for position, is_noisy in enumerate(noisy)]
    return np.concatenate([pooled[position][rows] for position in chosen], axis=1)
