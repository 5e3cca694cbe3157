"""What a training shows in an epoch: in which order, in which state, in which batches (SPEC 2.7, 5.4)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nmer.names import MODALITIES
from nmer.plan.conditions import training_copies, training_flags
from nmer.plan.settings import RunSettings
from nmer.seeds import generator
from nmer.training.data import FoldData


class Shown(NamedTuple):
    """The utterances of a batch, of several repeats one after another.

    rows: (utterances,). noisy: (utterances, 3) bool in the order a, v, l. copies: (utterances,) which noisy copy of
    each is shown where it is noisy. longest: frames of the longest, per modality.
    """

    rows: Tensor
    noisy: Tensor
    copies: Tensor
    longest: dict[str, int]


def shown_in_epoch(data: FoldData, settings: RunSettings, repeats: list[int], epoch: int) -> list[Shown]:
    """The batches of an epoch, the last, smaller one among them. What every repeat sees depends on names alone and is
    the same for all systems. All of it is known, and on the device, before the first step."""
    everyone = data.training_rows
    parts = []
    for repeat in repeats:
        names = (settings.dataset, settings.fold, repeat, epoch)
        order = generator("training order", *names).permutation(len(everyone))
        flags = training_flags(settings.regime, len(everyone), *names)
        copies = training_copies(settings.train_draws, len(everyone), *names)
        parts.append((everyone[order], flags[order], copies[order]))
    rows, *others = (np.stack(part) for part in zip(*parts, strict=True))
    on_device = [torch.from_numpy(part).to(data.device) for part in (rows, *others)]
    size = settings.training.batch_size
    batches = []
    for start in range(0, len(everyone), size):
        here = slice(start, start + size)
        shown = [part[:, here].flatten(0, 1) for part in on_device]
        longest = {modality: data.longest(modality, rows[:, here]) for modality in MODALITIES}
        batches.append(Shown(shown[0], shown[1], shown[2], longest))
    return batches
