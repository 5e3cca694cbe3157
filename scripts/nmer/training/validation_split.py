"""The validation split of a training: its conditions, copies and labels, determined once (SPEC 3.4)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from nmer.metrics import measure_scores, score
from nmer.names import ONE_CONDITION, SCORE
from nmer.plan.conditions import noisy_flags, validation_copies, validation_items
from nmer.plan.settings import LOSS, RunSettings
from nmer.systems.blocks.encodings import frames_of, select
from nmer.systems.interface import L1, Encoding
from nmer.training.data import FoldData

Encode = Callable[[str, Tensor, Tensor], Encoding]
"""Function from a modality, utterances (rows,) and the copy of each (rows,) to their encodings."""

Classify = Callable[[dict[str, Encoding], dict[str, Tensor]], Tensor]
"""Function from the encodings and noise flags of items, per modality, to predictions with the items on the last axis;
see :meth:`ValidationSplit.to_predictions`."""

FRAMES_AT_ONCE = 2**16
"""Most padded frames to classify in one call. Attention over frames needs much more memory than their encodings."""


class ValidationSplit:
    """Predicts the validation split under all conditions of the regime, encoding each state of a modality once."""

    def __init__(self, data: FoldData, settings: RunSettings) -> None:
        self._rows = rows = data.splits["val"]
        self._with_loss = settings.training.selection == LOSS
        self._score_loss = settings.training.score_loss
        self._is_score = data.target == SCORE
        self.needs_logits = self._is_score or self._with_loss
        """Whether scoring needs logits, not only classes."""
        self._classes = len(data.classes)
        utterances = [data.ids[row] for row in rows.tolist()]
        items = validation_items(settings.regime, settings.evaluation, settings.dataset, utterances, data.modalities)
        positions = np.concatenate(list(items.values()))
        flags = np.concatenate(
            [np.tile(noisy_flags(name, data.modalities), (len(tested), 1)) for name, tested in items.items()]
        )
        labels = data.labels[rows].cpu().numpy() if data.scores is None else data.scores[rows.cpu().numpy()]
        self.labels = labels[positions]
        one_state = settings.regime == "incomplete" and settings.evaluation == ONE_CONDITION
        self._copies: dict[str, Tensor] = {}
        """Per modality the copies to encode: of all rows, and if both states occur, of all rows again."""
        noisy_copies = validation_copies(settings.train_draws, settings.dataset, utterances, settings.levels)
        self._positions: dict[str, Tensor] = {}
        """Per modality (items,): position of each item among the encodings of all states."""
        self._noisy: dict[str, Tensor] = {}
        """Per modality (items,) bool: whether the item is noisy."""
        for number, modality in enumerate(data.modalities):
            noisy = flags[:, number]
            if one_state:
                # Every utterance occurs in one state of each modality; the other is not encoded.
                copies = np.zeros(len(utterances), np.int64)
                copies[positions] = noisy * noisy_copies[positions]
                states, encoding_positions = [copies], positions
            else:
                present = [state for state in (False, True) if (noisy == state).any()]
                states = [noisy_copies if state else np.zeros_like(noisy_copies) for state in present]
                encoding_positions = positions + len(utterances) * (noisy & (len(present) == 2))
            self._copies[modality] = torch.from_numpy(np.concatenate(states)).to(data.device)
            self._positions[modality] = torch.from_numpy(encoding_positions).to(data.device)
            self._noisy[modality] = torch.from_numpy(noisy).to(data.device)

    def predict(
        self, modalities: tuple[str, ...], encode: Encode, classify: Classify, at_once: int, axis: int = 0
    ) -> Tensor:
        """Predict every item, in the order of ``labels``.

        modalities: modalities that the system reads. at_once: most items to classify in one call; fewer if the
        encodings have frames. axis: axis of the utterances and items, 1 if the first axis is that of repeats.
        """
        encodings = {}
        for modality in modalities:
            copies = self._copies[modality]
            # All states in one call: time on a GPU depends on the length of sequences, not on their number.
            encodings[modality] = encode(modality, self._rows.repeat(len(copies) // len(self._rows)), copies)
        parts = []
        frames = max(frames_of(encoding, axis) for encoding in encodings.values())
        size = max(1, min(at_once, FRAMES_AT_ONCE // frames))
        for start in range(0, len(self.labels), size):
            part = slice(start, start + size)
            observed = {m: select(encoding, self._positions[m][part], axis) for m, encoding in encodings.items()}
            parts.append(classify(observed, {modality: self._noisy[modality][part] for modality in modalities}))
        return torch.cat(parts, dim=axis)

    def to_predictions(self, logits: Tensor) -> Tensor:
        """Convert logits, classes on the last axis, to predicted scores or classes; to log-probabilities of classes if
        the loss selects the epoch."""
        if self._is_score:
            return logits.squeeze(-1)
        return logits.log_softmax(dim=-1) if self._with_loss else logits.argmax(dim=-1)

    def scores(self, predictions: np.ndarray) -> dict[str, float]:
        """Return all metrics of predictions, under their names in the history.

        predictions: scores or classes (items,), or log-probabilities (items, classes). If the loss selects the epoch,
        ``val_loss`` is added: the mean cross-entropy, or the training loss of scores.
        """
        loss = {}
        if self._is_score:
            scores = measure_scores(self.labels, predictions)
            if self._with_loss:
                errors = predictions.astype(np.float64) - self.labels
                loss = {f"val_{LOSS}": scores["MAE"] if self._score_loss == L1 else float((errors**2).mean())}
            return {f"val_{name}": value for name, value in scores.items()} | loss
        if self._with_loss:
            true_class = predictions[np.arange(len(self.labels)), self.labels]
            loss, predictions = {f"val_{LOSS}": -float(true_class.mean(dtype=np.float64))}, predictions.argmax(axis=-1)
        scores = score(self.labels, predictions, self._classes)
        return {f"val_{name}": value for name, value in scores.items()} | loss
