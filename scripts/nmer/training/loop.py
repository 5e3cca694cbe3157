"""The training loop: epochs, selection by validation UA, histories and checkpoints (SPEC 3.3, 3.4).

A learner trains an epoch and validates; this file decides what is kept. There are two learners: one repeat at a time
(``one_by_one.py``, the CPU) and all repeats of a job stacked (``stacked.py``, a GPU).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from nmer.errors import TrainingError
from nmer.plan.settings import RunSettings
from nmer.training.checkpoints import Resumable, load_checkpoint, save_checkpoint
from nmer.training.precision import products_in
from nmer.training.versions import versions_text

CHECKPOINT_SECONDS = 30

Row = dict[str, Any]
"""A row of the history: one epoch of one repeat."""

Best = dict[str, Any]
"""``UA`` and ``weights`` of the epoch with the best validation UA so far."""

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
        """Scores of every repeat on the validation split, ``val_UA`` among them."""

    def weights(self, repeat: int) -> dict[str, Tensor]:
        """A copy of the weights of one repeat."""


def fit(learner: Learner, settings: RunSettings, checkpoint: Path | None = None) -> dict[int, Trained]:
    """Train all epochs; returns the best weights and the history of every repeat.

    checkpoint: file to resume from and to save progress to. Training, selection and resuming depend on names and epoch
    numbers only, so a resumed training equals an uninterrupted one.
    Raises TrainingError if a term of the loss is not finite; the best weights until then are kept in a file beside the
    checkpoint.
    """
    options = settings.training
    best: dict[int, Best] = {repeat: {"UA": -1.0, "weights": {}} for repeat in learner.repeats}
    history: dict[int, list[Row]] = {repeat: [] for repeat in learner.repeats}
    if checkpoint is not None and (found := load_checkpoint(checkpoint, learner.device, learner)):
        best, history = found["best"], found["history"]

    saved = time.monotonic()
    for epoch in range(len(history[learner.repeats[0]]), options.epochs):
        rate = options.learning_rate * options.learning_rate_factor(epoch)
        with products_in(options.precision, learner.device):
            losses = learner.train_epoch(epoch, rate)
        try:
            terms = mean_terms(losses, settings, learner.repeats, epoch)
        except NonFiniteLossError as error:
            raise save_best_and_describe(error, checkpoint, best, history) from None
        for repeat, scores in zip(learner.repeats, learner.validate(), strict=True):
            row = {"repeat": repeat, "epoch": epoch + 1, "learning_rate": rate} | terms[repeat] | scores
            # Versions are noted per row: an upgrade may interrupt a training.
            history[repeat].append(row | {"versions": versions_text()})
            # Strictly better: the earliest of equal epochs is kept.
            if scores["val_UA"] > best[repeat]["UA"]:
                best[repeat] = {"UA": scores["val_UA"], "weights": learner.weights(repeat)}
        if checkpoint is not None and time.monotonic() - saved > CHECKPOINT_SECONDS:
            save_checkpoint(checkpoint, {"best": best, "history": history}, learner)
            saved = time.monotonic()
    if checkpoint is not None:
        save_checkpoint(checkpoint, {"best": best, "history": history})
    return {repeat: (best[repeat]["weights"], history[repeat]) for repeat in learner.repeats}


class NonFiniteLossError(TrainingError):
    """A term of the loss is not finite. repeat: of which repeat."""

    def __init__(self, message: str, repeat: int) -> None:
        super().__init__(message)
        self.repeat = repeat


def mean_terms(losses: Losses, settings: RunSettings, repeats: list[int], epoch: int) -> dict[int, dict[str, float]]:
    """Per repeat the mean loss of an epoch and of each of its terms, weighted by the size of the steps.

    Raises NonFiniteLossError if one is not finite.
    """
    finite = np.isfinite(losses.values)
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
    error: NonFiniteLossError, checkpoint: Path | None, best: dict[int, Best], history: dict[int, list[Row]]
) -> TrainingError:
    """Save the best weights of the repeat that broke beside the checkpoint; returns the error that names the file."""
    rows = history[error.repeat]
    if checkpoint is None or not rows:
        return error
    # A separate file: resuming must continue from the last epoch, not from the best.
    kept = checkpoint.with_name(f"repeat{error.repeat}_best.pt")
    save_checkpoint(kept, {"best": best[error.repeat], "history": rows})
    epoch = max(rows, key=lambda row: row["val_UA"])["epoch"]
    return TrainingError(f"{error} The best weights so far, of epoch {epoch}: {kept}.")
