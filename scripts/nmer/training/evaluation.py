"""Predictions of trained systems on the test splits, under every condition (SPEC 5.4, 6.1)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from nmer.names import MEDIAN, PREDICTION, noisy_modalities
from nmer.plan.conditions import test_items, tested_conditions
from nmer.plan.settings import EvaluationSettings
from nmer.systems.blocks.encodings import select
from nmer.systems.interface import System
from nmer.training.data import FoldData
from nmer.training.evaluation_files import with_median
from nmer.training.inference import classify, encode_states, encoding_batch, logits


def predict(system: System, data: FoldData, settings: EvaluationSettings, fold: int, repeat: int) -> pd.DataFrame:
    """Predict the test split of one fold with one repeat: one row per utterance and condition.

    Without a noise kind in the settings, only clean features are tested.
    """
    rows = data.splits["test"]
    utterances = [data.ids[row] for row in rows.tolist()]
    conditions = tested_conditions(settings.system, settings.noise is not None, data.modalities, settings.conditions)
    system.eval()
    states, jointly = 1 if settings.noise is None else 2, data.device.type != "cpu"
    labels = data.labels.cpu().numpy()
    outputs = classify if data.scores is None else logits
    items = test_items(conditions, settings.evaluation, settings.dataset, utterances, data.modalities)
    predicted: dict[str, list[np.ndarray]] = {condition: [] for condition in items}
    # Encode part of the utterances at a time: encodings may be sequences, which are large.
    size = encoding_batch(data.device)
    for start in range(0, len(rows), size):
        part_rows = rows[start : start + size]
        encodings = {m: encode_states(system, data, m, part_rows, states, jointly) for m in system.modalities}
        for condition, positions in items.items():
            tested = torch.from_numpy(positions[(start <= positions) & (positions < start + size)] - start)
            tested = tested.to(data.device)
            corrupted = noisy_modalities(condition, data.modalities)
            noisy = {m: m in corrupted for m in system.modalities}
            observed = {m: select(clean_and_noisy[int(noisy[m])], tested) for m, clean_and_noisy in encodings.items()}
            flags = {m: torch.full((len(tested),), noisy[m], device=data.device) for m in noisy}
            predicted[condition].append(outputs(system, observed, flags).cpu().numpy())
    parts = []
    for condition, positions in items.items():
        tested_rows = rows[torch.from_numpy(positions).to(data.device)].cpu().numpy()
        part = pd.DataFrame(
            {
                "utterance": [utterances[position] for position in positions],
                "condition": condition,
                "fold": fold,
                "repeat": repeat,
                "label": (labels if data.scores is None else data.scores)[tested_rows],
            }
        )
        columns = np.concatenate(predicted[condition])
        if data.scores is None:
            part[[f"prob_{name}" for name in data.classes]] = columns
        else:
            part[[PREDICTION, MEDIAN]] = with_median(columns[:, 0], data.scores[data.training_rows])
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
