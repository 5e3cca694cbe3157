"""The validation split as a training scores it: its states, conditions and labels, found once (SPEC 3.4)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from nmer.metrics import SCORE, measure_scores, score
from nmer.plan.conditions import ONE_CONDITION, noisy_flags, validation_copies, validation_items
from nmer.plan.settings import LOSS, RunSettings
from nmer.systems.blocks.encodings import select
from nmer.systems.interface import L1, Encoding
from nmer.training.data import FoldData

Encode = Callable[[str, Tensor, Tensor], Encoding]
"""From a modality, utterances (rows,) and the copy of each (rows,) to their encodings."""

Classify = Callable[[dict[str, Encoding], dict[str, Tensor]], Tensor]
"""From the encodings of items, and which of them are noisy per modality, to their predicted classes or scores, items on
the last axis; see :meth:`ValidationSplit.predicted`."""


class ValidationSplit:
    """Predicts the validation split pooled over the regime's conditions, encoding each state of a modality once."""

    def __init__(self, data: FoldData, settings: RunSettings) -> None:
        self._rows = rows = data.splits["val"]
        self._with_loss = settings.training.selection == LOSS
        self._score_loss = settings.training.score_loss
        self._is_score = data.target == SCORE
        self.needs_logits = self._is_score or self._with_loss
        """Whether classes alone, without their probabilities, are not enough."""
        self._classes = len(data.classes)
        utterances = [data.ids[row] for row in rows.tolist()]
        items = validation_items(settings.regime, settings.evaluation, settings.dataset, utterances, data.modalities)
        positions = np.concatenate(list(items.values()))
        flags = np.concatenate(
            [np.tile(noisy_flags(name, data.modalities), (len(found), 1)) for name, found in items.items()]
        )
        labels = data.labels[rows].cpu().numpy() if data.scores is None else data.scores[rows.cpu().numpy()]
        self.labels = labels[positions]
        one_state = settings.regime == "incomplete" and settings.evaluation == ONE_CONDITION
        self._copies: dict[str, Tensor] = {}
        """Per modality the copies to encode: of all rows, and where both states are seen, of all rows again."""
        shown = validation_copies(settings.train_draws, settings.dataset, utterances, settings.levels)
        self._chosen: dict[str, Tensor] = {}
        """Per modality (items,): the position of each item among the encodings of all states."""
        self._noisy: dict[str, Tensor] = {}
        """Per modality (items,) bool: which are noisy."""
        for number, modality in enumerate(data.modalities):
            noisy = flags[:, number]
            if one_state:
                # Every utterance is seen in one state of each modality; the other is not encoded.
                copies = np.zeros(len(utterances), np.int64)
                copies[positions] = noisy * shown[positions]
                states, places = [copies], positions
            else:
                present = [state for state in (False, True) if (noisy == state).any()]
                states = [shown if state else np.zeros_like(shown) for state in present]
                places = positions + len(utterances) * (noisy & (len(present) == 2))
            self._copies[modality] = torch.from_numpy(np.concatenate(states)).to(data.device)
            self._chosen[modality] = torch.from_numpy(places).to(data.device)
            self._noisy[modality] = torch.from_numpy(noisy).to(data.device)

    def predict(
        self, modalities: tuple[str, ...], encode: Encode, classify: Classify, at_once: int, axis: int = 0
    ) -> Tensor:
        """Predictions of every item, in the order of ``labels``. modalities: those the system reads. at_once: items to
        classify in one call. axis: that of the utterances and items, 1 behind an axis of repeats."""
        encodings = {}
        for modality in modalities:
            copies = self._copies[modality]
            # All states in one call: a GPU's time depends on the frames in sequence, not on the utterances.
            encodings[modality] = encode(modality, self._rows.repeat(len(copies) // len(self._rows)), copies)
        parts = []
        for start in range(0, len(self.labels), at_once):
            here = slice(start, start + at_once)
            shown = {m: select(encoding, self._chosen[m][here], axis) for m, encoding in encodings.items()}
            parts.append(classify(shown, {modality: self._noisy[modality][here] for modality in modalities}))
        return torch.cat(parts, dim=axis)

    def predicted(self, logits: Tensor) -> Tensor:
        """What to compute of logits, classes on the last axis: the predicted scores or classes, or, where the loss
        selects among classes, their log-probabilities."""
        if self._is_score:
            return logits.squeeze(-1)
        return logits.log_softmax(dim=-1) if self._with_loss else logits.argmax(dim=-1)

    def scores(self, predictions: np.ndarray) -> dict[str, float]:
        """Every metric of predictions, under their names in the history.

        predictions: scores or classes (items,), or log-probabilities (items, classes). Where the loss selects, there is
        ``val_loss`` too: the mean cross-entropy, or of scores the loss that is trained.
        """
        loss = {}
        if self._is_score:
            scores = measure_scores(self.labels, predictions)
            if self._with_loss:
                errors = predictions.astype(np.float64) - self.labels
                loss = {f"val_{LOSS}": scores["MAE"] if self._score_loss == L1 else float((errors**2).mean())}
            return {f"val_{name}": value for name, value in scores.items()} | loss
        if self._with_loss:
            own = predictions[np.arange(len(self.labels)), self.labels]
            loss, predictions = {f"val_{LOSS}": -float(own.mean(dtype=np.float64))}, predictions.argmax(axis=-1)
        scores = score(self.labels, predictions, self._classes)
        return {f"val_{name}": value for name, value in scores.items()} | loss
