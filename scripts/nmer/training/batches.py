"""Batches of an epoch: utterances, their order and their conditions (SPEC 2.7, 5.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nmer.plan.conditions import training_copies, training_flags
from nmer.plan.settings import RunSettings
from nmer.seeds import generator
from nmer.systems.interface import Batch, Sequences
from nmer.training.data import FoldData
from nmer.training.teacher_targets import Targets


class EpochBatch(NamedTuple):
    """The utterances of one training step; several repeats are concatenated.

    rows: (utterances,) int64. noisy: (utterances, modalities) bool in the order a, v, l. copies: (utterances,) number
    of the copy to use for noisy modalities. lengths: per modality the frames of each utterance, (repeats, utterances of
    one), on the CPU.
    """

    rows: Tensor
    noisy: Tensor
    copies: Tensor
    lengths: dict[str, np.ndarray]

    def longest(self) -> dict[str, int]:
        """Return the frames of the longest utterance per modality."""
        return {modality: int(lengths.max()) for modality, lengths in self.lengths.items()}


def epoch_batches(data: FoldData, settings: RunSettings, repeats: list[int], epoch: int) -> list[EpochBatch]:
    """Return the batches of an epoch, including the last, smaller one.

    Order, conditions and copies of a repeat depend on names only and are the same for all systems. All batches are on
    the device before the first step.
    """
    training_rows = data.training_rows
    parts = []
    for repeat in repeats:
        names = (settings.dataset, settings.fold, repeat, epoch)
        order = generator("training order", *names).permutation(len(training_rows))
        flags = training_flags(settings.regime, len(training_rows), *names, data.modalities)
        copies = training_copies(settings.train_draws, len(training_rows), *names, settings.levels)
        parts.append((training_rows[order], flags[order], copies[order]))
    rows, *others = (np.stack(part) for part in zip(*parts, strict=True))
    on_device = [torch.from_numpy(part).to(data.device) for part in (rows, *others)]
    size = settings.training.batch_size
    batches = []
    for start in range(0, len(training_rows), size):
        columns = slice(start, start + size)
        batch_rows, noisy, noisy_copies = (part[:, columns].flatten(0, 1) for part in on_device)
        lengths = {modality: data.lengths(modality, rows[:, columns]) for modality in data.modalities}
        batches.append(EpochBatch(batch_rows, noisy, noisy_copies, lengths))
    return batches


def make_batch(
    data: FoldData,
    rows: Tensor,
    noisy: Tensor,
    targets: Targets | None = None,
    modalities: Iterable[str] | None = None,
    copies: Tensor | None = None,
    longest: Mapping[str, int] | None = None,
) -> Batch:
    """Gather the features, labels and targets of a batch.

    rows: (batch,) int64. noisy: (batch, modalities) bool in the order a, v, l. targets: encodings of the teacher, if
    there is one. modalities: modalities that the system reads, by default all. copies: (batch,) the noisy copy of each
    utterance, by default the first. longest: frames to pad to per modality, by default those of the longest utterance.
    """
    flags = {modality: noisy[:, number] for number, modality in enumerate(data.modalities)}
    noisy_copies, clean = torch.ones_like(rows) if copies is None else copies, torch.zeros_like(rows)
    frames = longest or {}

    def sequences(modality: str, modality_copies: Tensor) -> Sequences:
        return data.sequences(modality, rows, modality_copies, frames.get(modality))

    return Batch(
        observed={
            modality: sequences(modality, flags[modality] * noisy_copies) for modality in modalities or data.modalities
        },
        labels=data.labels[rows],
        noisy=flags,
        teacher_clean=targets.lookup(rows, clean, (0,)) if targets is not None else {},
        teacher_noisy=targets.lookup(rows, noisy_copies, data.noisy_copies) if targets is not None else {},
        clean=lambda modality: sequences(modality, clean),
        deviations=data.deviations,
    )
