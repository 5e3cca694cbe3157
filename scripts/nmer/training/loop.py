"""The training loop: epochs, selection on the validation split, histories and checkpoints (SPEC 3.3, 3.4).

A learner trains an epoch and validates; this module selects and saves. There are two learners: one repeat at a time
(``one_by_one.py``, for a CPU) and all repeats of a job stacked (``stacked.py``, for a GPU).
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
from nmer.training.library_versions import versions_text
from nmer.training.live import LiveHistory, log_epoch
from nmer.training.precision import matrix_precision

CHECKPOINT_SECONDS = 30

Row = dict[str, Any]
"""A row of the history: one epoch of one repeat."""

Best = dict[str, Any]
"""``value`` (higher is better) and ``weights`` of the epoch selected so far on the validation split."""

Trained = tuple[dict[str, Tensor], list[Row]]
"""The weights of a repeat's best epoch, and its history."""


class Losses(NamedTuple):
    """Loss terms of an epoch. names: of the terms. values: (steps, terms, repeats). sizes: utterances per step."""

    names: list[str]
    values: np.ndarray
    sizes: list[int]


class Learner(Resumable, Protocol):
    """One or more repeats of a system with their optimiser."""

    repeats: list[int]
    device: torch.device

    def train_epoch(self, epoch: int, learning_rate: float) -> Losses:
        """Train on the training split once."""

    def validate(self) -> list[dict[str, float]]:
        """Score every repeat on the validation split: all metrics, and ``val_loss`` if it selects the epoch."""

    def weights(self, repeat: int) -> dict[str, Tensor]:
        """Return a copy of the weights of one repeat."""


def fit(
    learner: Learner, settings: RunSettings, checkpoint: Path | None = None, save_finished: bool = True
) -> dict[int, Trained]:
    """Train all epochs. Returns the best weights and the history of every repeat.

    checkpoint: file to resume from and to save progress to, with a growing history next to it. Training, selection and
    resuming depend on names and epoch numbers only, so a resumed training equals an uninterrupted one. save_finished:
    whether to save a checkpoint after the last epoch as well, for jobs that then train other repeats.
    With ``patience``, repeats stop early. The learner trains until its last repeat has stopped; repeats that stopped
    earlier record nothing more.
    Raises TrainingError if a term of the loss is not finite; the best weights until then are saved next to the
    checkpoint.
    """
    options = settings.training
    best: dict[int, Best] = {repeat: {"value": -math.inf, "weights": {}} for repeat in learner.repeats}
    history: dict[int, list[Row]] = {repeat: [] for repeat in learner.repeats}
    if checkpoint is not None and (progress := load_checkpoint(checkpoint, learner.device, learner)):
        best, history = progress["best"], progress["history"]

    live = None
    if checkpoint is not None:
        resumed = [row for repeat in learner.repeats for row in history[repeat]]
        live = LiveHistory(checkpoint.with_name(LIVE_HISTORY), resumed, learner.repeats)
    saved = time.monotonic()
    for epoch in range(max(map(len, history.values())), options.epochs):
        running = [repeat for repeat in learner.repeats if not has_stopped(history[repeat], options)]
        if not running:
            break
        rate = options.learning_rate * options.learning_rate_factor(epoch)
        with matrix_precision(options.precision, learner.device):
            losses = learner.train_epoch(epoch, rate)
        try:
            terms = mean_terms(losses, settings, learner.repeats, epoch, running)
        except NonFiniteLossError as error:
            raise save_best_and_describe(error, checkpoint, best, history, options) from None
        for repeat, scores in zip(learner.repeats, learner.validate(), strict=True):
            if repeat not in running:
                continue
            row = {"repeat": repeat, "epoch": epoch + 1, "learning_rate": rate} | terms[repeat] | scores
            # Versions are stored per row, because packages may be upgraded between interruption and resumption.
            history[repeat].append(row | {"versions": versions_text()})
            # Strictly better, so the earliest of equal epochs is kept.
            if not best[repeat]["weights"] or selection_value(scores, options) > best[repeat]["value"]:
                best[repeat] = {"value": selection_value(scores, options), "weights": learner.weights(repeat)}
        newest = [history[repeat][-1] for repeat in running]
        log_epoch(newest, options.epochs)
        if live is not None:
            live.append(newest)
        if checkpoint is not None and time.monotonic() - saved > CHECKPOINT_SECONDS:
            save_checkpoint(checkpoint, {"best": best, "history": history}, learner)
            saved = time.monotonic()
    if checkpoint is not None and save_finished:
        save_checkpoint(checkpoint, {"best": best, "history": history})
    return {repeat: (best[repeat]["weights"], history[repeat]) for repeat in learner.repeats}


def selection_value(row: Row, settings: TrainingSettings) -> float:
    """Return the value that selects the epoch (higher is better): a validation score, or a negative loss or error.

    row: validation scores of an epoch. NaN is the worst value.
    """
    value = float(row[f"val_{settings.selection}"])
    if settings.selection != LOSS:
        return METRICS[settings.selection].goodness(value)
    return -math.inf if math.isnan(value) else -value


def has_stopped(history: list[Row], settings: TrainingSettings) -> bool:
    """Return whether ``patience`` epochs have passed since the best one. history: of one repeat.

    It depends on nothing else, so a resumed training stops where an uninterrupted one does.
    """
    if not settings.patience or not history:
        return False
    values = [selection_value(row, settings) for row in history]
    return len(values) - 1 - values.index(max(values)) >= settings.patience


class NonFiniteLossError(TrainingError):
    """A term of the loss is not finite. repeat: number of the repeat."""

    def __init__(self, message: str, repeat: int) -> None:
        super().__init__(message)
        self.repeat = repeat


def mean_terms(
    losses: Losses, settings: RunSettings, repeats: list[int], epoch: int, running: list[int]
) -> dict[int, dict[str, float]]:
    """Return per repeat the mean loss of an epoch and of each term, weighted by the size of the steps.

    running: repeats that have not stopped early. Raises NonFiniteLossError if one of their losses is not finite.
    """
    finite = np.isfinite(losses.values) | ~np.isin(repeats, running)
    if not finite.all():
        # Report the first: it affects all later steps, and other repeats in stacked training.
        step, number, term = np.argwhere(~finite.transpose(0, 2, 1))[0]
        raise NonFiniteLossError(
            f"{settings.system} on {settings.dataset}, fold {settings.fold}, repeat {repeats[number]}, "
            f"epoch {epoch + 1}: the loss term '{losses.names[term]}' is {losses.values[step, term, number]}. Lower "
            "training.learning_rate or its weight.",
            repeats[number],
        )
    means = np.average(losses.values, axis=0, weights=losses.sizes)
    mean_losses = {}
    for number, repeat in enumerate(repeats):
        terms = dict(zip(losses.names, means[:, number].tolist(), strict=True))
        mean_losses[repeat] = {"loss": sum(terms.values())} | {f"loss_{name}": value for name, value in terms.items()}
    return mean_losses


def save_best_and_describe(
    error: NonFiniteLossError,
    checkpoint: Path | None,
    best: dict[int, Best],
    history: dict[int, list[Row]],
    settings: TrainingSettings,
) -> TrainingError:
    """Save the best weights of the failed repeat next to the checkpoint. Returns an error that names the file."""
    rows = history[error.repeat]
    if checkpoint is None or not rows:
        return error
    # A separate file: resuming must continue from the last epoch, not from the best.
    best_path = checkpoint.with_name(f"repeat{error.repeat}_best.pt")
    save_checkpoint(best_path, {"best": best[error.repeat], "history": rows})
    epoch = max(rows, key=lambda row: selection_value(row, settings))["epoch"]
    return TrainingError(f"{error} The best weights so far, of epoch {epoch}: {best_path}.")
