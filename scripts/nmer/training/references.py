"""Training and testing of reference rows, without torch: mean-pooled features, conditions and splits of the systems."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from nmer.corpora.store import FeatureStore
from nmer.names import ALL_NOISY, MEDIAN, PREDICTION, SCORE, SPLITS, incomplete_conditions
from nmer.plan.conditions import noisy_flags, test_items, tested_conditions, validation_items
from nmer.plan.settings import EvaluationSettings
from nmer.references.registry import Examples, Reference
from nmer.training.evaluation_files import with_median
from nmer.training.stored_arrays import noisy_values


def predict_reference(
    train: Reference, features: Path, noisy: Path, settings: EvaluationSettings, threads: int = 1
) -> pd.DataFrame:
    """Train on every fold and predict its test split, in the format of an evaluation.

    Every training utterance is used under each incomplete condition, or with all modalities noisy. threads: CPU
    threads; their number affects the last digits. Raises DataError if a file is damaged or the two do not match.
    """
    parts = []
    with threadpool_limits(threads), FeatureStore(features) as store:
        pooled = _pooled_features(store, noisy)
        for fold in settings.folds:
            parts += _predict_fold(train, store, pooled, settings, fold)
    return pd.concat(parts, ignore_index=True)


def _predict_fold(
    train: Reference, store: FeatureStore, pooled: list[np.ndarray], settings: EvaluationSettings, fold: int
) -> list[pd.DataFrame]:
    rows, labels = store.fold(fold), store.labels
    names = {split: [store.ids[row] for row in rows[split]] for split in SPLITS}

    def examples(split: str, condition: str, positions: np.ndarray) -> Examples:
        used = rows[split][positions]
        return Examples(_features_under(pooled, noisy_flags(condition, store.modalities), used), labels[used])

    training_conditions = incomplete_conditions(store.modalities) if settings.regime == "incomplete" else (ALL_NOISY,)
    training = [examples("train", condition, np.arange(len(rows["train"]))) for condition in training_conditions]
    stacked = Examples(
        np.concatenate([each.features for each in training]), np.concatenate([each.labels for each in training])
    )
    items = validation_items(settings.regime, settings.evaluation, settings.dataset, names["val"], store.modalities)
    validation = [examples("val", condition, positions) for condition, positions in items.items() if len(positions)]
    predictor = train(stacked, validation, len(store.classes))
    parts = []
    conditions = tested_conditions(settings.system, True, store.modalities, settings.conditions)
    tested_items = test_items(conditions, settings.evaluation, settings.dataset, names["test"], store.modalities)
    for condition, positions in tested_items.items():
        if not len(positions):
            continue
        tested = examples("test", condition, positions)
        columns = {"utterance": [names["test"][position] for position in positions], "condition": condition}
        part = pd.DataFrame(columns | {"fold": fold, "repeat": 1, "label": tested.labels})
        predicted = predictor(tested.features).astype(np.float32)
        if store.target == SCORE:
            part[[PREDICTION, MEDIAN]] = with_median(predicted, labels[rows["train"]])
        else:
            part[[f"prob_{name}" for name in store.classes]] = predicted
        parts.append(part)
    return parts


def _pooled_features(store: FeatureStore, noisy: Path) -> list[np.ndarray]:
    """Return means over the frames of each utterance, (utterances, width): all modalities clean, then all noisy."""
    states: tuple[list[np.ndarray], list[np.ndarray]] = [], []
    for modality in store.modalities:
        values, offset = store.values(modality), store.offset(modality)
        for state, frames in zip(states, (values[()], noisy_values(noisy, modality, values.shape)), strict=True):
            state.append(np.add.reduceat(frames, offset[:-1], axis=0) / np.diff(offset)[:, None])
    return [*states[0], *states[1]]


def _features_under(pooled: list[np.ndarray], noisy: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Concatenate the modalities of some utterances. noisy: (modalities,) bool, which of them are noisy."""
    indices = [position + len(noisy) * int(is_noisy) for position, is_noisy in enumerate(noisy)]
    return np.concatenate([pooled[index][rows] for index in indices], axis=1)
