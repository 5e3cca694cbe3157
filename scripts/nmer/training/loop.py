"""The training loop: epochs, selection on the validation split, histories and checkpoints (SPEC 3.3, 3.4).

A learner trains an epoch and validates; this file decides what is kept. There are two learners: one repeat at a time
(``one_by_one.py``, the CPU) and all repeats of a job stacked (``stacked.py``, a GPU).
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from nmer.errors import TrainingError
from nmer.metrics import METRICS
from nmer.plan.running import LIVE_HISTORY
from nmer.plan.settings import LOSS, RunSettings, TrainingSettings
from nmer.training.checkpoints import Resumable, load_checkpoint, save_checkpoint
from nmer.training.live import LiveHistory, log_epoch
from nmer.training.precision import products_in
from nmer.training.versions import versions_text

CHECKPOINT_SECONDS = 30

Row = dict[str, Any]
"""A row of the history: one epoch of one repeat."""

Best = dict[str, Any]
"""``value``, higher is better, and ``weights`` of the epoch that the validation split selects so far."""

Trained = tuple[dict[str, Tensor], list[Row]]
"""The weights of a repeat's best epoch, and its history."""


class Losses(NamedTuple):
    """The loss terms of an epoch. names: of the terms. values: (steps, terms, repeats). sizes: utterances per step."""

    names: list[str]
    values: np.ndarray
    sizes: list[int]


class Learner(Resumable, Protocol):
    """One or several repeats of a system with their optimiser."""

    repeats: list[int]
    device: torch.device

    def train_epoch(self, epoch: int, learning_rate: float) -> Losses:
        """Pass over the training split once."""

    def validate(self) -> list[dict[str, float]]:
        """Scores of every repeat on the validation split: all metrics, and ``val_loss`` where it selects."""

    def weights(self, repeat: int) -> dict[str, Tensor]:
        """A copy of the weights of one repeat."""


def fit(learner: Learner, settings: RunSettings, checkpoint: Path | None = None) -> dict[int, Trained]:
    """Train all epochs; returns the best weights and the history of every repeat.

    checkpoint: file to resume from and to save progress to; a history beside it grows epoch by epoch. Training,
    selection and resuming depend on names and epoch numbers only, so a resumed training equals an uninterrupted one.
    With ``patience``, a repeat ends early; the learner trains until the last of its repeats has ended, and those that
    ended before record nothing more.
    Raises TrainingError if a term of the loss is not finite; the best weights until then are kept in a file beside the
    checkpoint.
    """
    options = settings.training
    best: dict[int, Best] = {repeat: {"value": -math.inf, "weights": {}} for repeat in learner.repeats}
    history: dict[int, list[Row]] = {repeat: [] for repeat in learner.repeats}
    if checkpoint is not None and (found := load_checkpoint(checkpoint, learner.device, learner)):
        best, history = found["best"], found["history"]

    live = None
    if checkpoint is not None:
        resumed = [row for repeat in learner.repeats for row in history[repeat]]
        live = LiveHistory(checkpoint.with_name(LIVE_HISTORY), resumed, learner.repeats)
    saved = time.monotonic()
    for epoch in range(max(map(len, history.values())), options.epochs):
        running = [repeat for repeat in learner.repeats if not has_ended(history[repeat], options)]
        if not running:
            break
        rate = options.learning_rate * options.learning_rate_factor(epoch)
        with products_in(options.precision, learner.device):
            losses = learner.train_epoch(epoch, rate)
        try:
            terms = mean_terms(losses, settings, learner.repeats, epoch, running)
        except NonFiniteLossError as error:
            raise save_best_and_describe(error, checkpoint, best, history, options) from None
        for repeat, scores in zip(learner.repeats, learner.validate(), strict=True):
            if repeat not in running:
                continue
            row = {"repeat": repeat, "epoch": epoch + 1, "learning_rate": rate} | terms[repeat] | scores
            # Versions are noted per row: an upgrade may interrupt a training.
            history[repeat].append(row | {"versions": versions_text()})
            # Strictly better: the earliest of equal epochs is kept.
            if not best[repeat]["weights"] or selection_value(scores, options) > best[repeat]["value"]:
                best[repeat] = {"value": selection_value(scores, options), "weights": learner.weights(repeat)}
        newest = [history[repeat][-1] for repeat in running]
        log_epoch(newest, options.epochs)
        if live is not None:
            live.append(newest)
        if checkpoint is not None and time.monotonic() - saved > CHECKPOINT_SECONDS:
            save_checkpoint(checkpoint, {"best": best, "history": history}, learner)
            saved = time.monotonic()
    if checkpoint is not None:
        save_checkpoint(checkpoint, {"best": best, "history": history})
    return {repeat: (best[repeat]["weights"], history[repeat]) for repeat in learner.repeats}


def selection_value(row: Row, settings: TrainingSettings) -> float:
    """What selects the epoch, higher is better: a validation score, or the negative of a loss or error.

    row: validation scores of an epoch. What is not a number is the worst.
    """
    value = float(row[f"val_{settings.selection}"])
    if settings.selection != LOSS:
        return METRICS[settings.selection].goodness(value)
    return -math.inf if math.isnan(value) else -value


def has_ended(history: list[Row], settings: TrainingSettings) -> bool:
    """Whether ``patience`` epochs have passed since the best one. history: of one repeat.

    It reads nothing else, so that a resumed training ends where an uninterrupted one does.
    """
    if not settings.patience or not history:
        return False
    values = [selection_value(row, settings) for row in history]
    return len(values) - 1 - values.index(max(values)) >= settings.patience


class NonFiniteLossError(TrainingError):
    """A term of the loss is not finite. repeat: of which repeat."""

    def __init__(self, message: str, repeat: int) -> None:
        super().__init__(message)
        self.repeat = repeat


def mean_terms(
    losses: Losses, settings: RunSettings, repeats: list[int], epoch: int, running: list[int]
) -> dict[int, dict[str, float]]:
    """Per repeat the mean loss of an epoch and of each of its terms, weighted by the size of the steps.

    running: the repeats that have not ended early. Raises NonFiniteLossError if a loss of theirs is not finite.
    """
    finite = np.isfinite(losses.values) | ~np.isin(repeats, running)
    if not finite.all():
        # The first to break: it spoils every later step, and in a stacked training the other repeats.
        step, number, term = np.argwhere(~finite.transpose(0, 2, 1))[0]
        raise NonFiniteLossError(
            f"{settings.system} on {settings.dataset}, fold {settings.fold}, repeat {repeats[number]}, "
            f"epoch {epoch + 1}: the loss term '{losses.names[term]}' is {losses.values[step, term, number]}. Lower "
            "training.learning_rate or its weight.",
            repeats[number],
        )
    means = np.average(losses.values, axis=0, weights=losses.sizes)
    found = {}
    for number, repeat in enumerate(repeats):
        terms = dict(zip(losses.names, means[:, number].tolist(), strict=True))
        found[repeat] = {"loss": sum(terms.values())} | {f"loss_{name}": value for name, value in terms.items()}
    return found


def save_best_and_describe(
    error: NonFiniteLossError,
    checkpoint: Path | None,
    best: dict[int, Best],
    history: dict[int, list[Row]],
    settings: TrainingSettings,
) -> TrainingError:
    """Save the best weights of the repeat that broke beside the checkpoint; returns the error that names the file."""
    rows = history[error.repeat]
    if checkpoint is None or not rows:
        return error
    # A separate file: resuming must continue from the last epoch, not from the best.
    kept = checkpoint.with_name(f"repeat{error.repeat}_best.pt")
    save_checkpoint(kept, {"best": best[error.repeat], "history": rows})
    epoch = max(rows, key=lambda row: selection_value(row, settings))["epoch"]
    return TrainingError(f"{error} The best weights so far, of epoch {epoch}: {kept}.")
